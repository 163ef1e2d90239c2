"""Tests in a real browser. A package, so that browser and servers end when its last test has."""
