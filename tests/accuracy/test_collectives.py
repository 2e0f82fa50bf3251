from .collectives import rows


def test_collectives_are_within_15_percent_of_measurements_in_the_median_and_40_at_p90(shared):
    for row in rows(shared):
        assert row.median <= 0.15 and row.p90 <= 0.40, row
