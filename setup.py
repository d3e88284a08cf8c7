"""Packaging of metaweight; everything is declared in setup.cfg."""

from setuptools import setup

setup()
