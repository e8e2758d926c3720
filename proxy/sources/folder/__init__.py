"""Folders as origins: a static tree on a disk of this machine, or on a mounted one."""
