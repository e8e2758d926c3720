"""What all tests here are held to."""

from support.descriptors import _closes_its_files  # noqa: F401 - an autouse fixture
