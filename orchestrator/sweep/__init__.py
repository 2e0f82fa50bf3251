"""Many runs of one scenario: sweeps over its fields, the highest load under an SLO, the cheapest cluster for a load."""
