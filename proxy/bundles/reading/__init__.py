"""Reading bundles that strangers wrote: folders, tar archives and pipes, bounded in time and memory.

Nothing is unpacked here. A blob is found by its digest and read as bytes; its name in an archive never
becomes the name of a file. Links, devices and all other special files are refused, and no
link is followed below the folder that was named.
"""
