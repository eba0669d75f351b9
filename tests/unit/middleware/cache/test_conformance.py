"""The cache is a middleware like any other: whatever it is set to."""

import pytest

from chainops.middleware.cache import Cache
from chainops.testing import MiddlewareConformance


class TestCacheInMemory(MiddlewareConformance):
    def make(self):
        return Cache(only_deterministic=False, tools=["*"])


class TestCacheOnDisk(MiddlewareConformance):
    @pytest.fixture(autouse=True)
    def directory(self, tmp_path):
        self.made, self.path = [], tmp_path
        yield
        for cache in self.made:
            cache.close()

    def make(self):
        self.made.append(Cache(self.path / f"cache{len(self.made)}", only_deterministic=False, tools=["*"]))
        return self.made[-1]


class TestCacheAsItComes(MiddlewareConformance):
    def make(self):
        return Cache()
