"""A plugin of pytest's: any example that fails will do, so hypothesis looks for no smaller one."""

from hypothesis import Phase, settings

settings.register_profile("unshrunk", phases=(Phase.explicit, Phase.generate), database=None)
settings.load_profile("unshrunk")
