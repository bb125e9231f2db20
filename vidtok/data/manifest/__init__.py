"""Labelled videos of a split, from any common kind of list or from class folders, checked before decoding."""

from vidtok.data.manifest.items import VIDEO_SUFFIXES, Item, Listing, Manifest
from vidtok.data.manifest.load import load_manifest, load_split, read_listing

__all__ = ["VIDEO_SUFFIXES", "Item", "Listing", "Manifest", "load_manifest", "load_split", "read_listing"]
