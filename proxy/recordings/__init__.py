"""Recording which documents and items clients ask for, by all processes, into files that outlive them.

Knows mirrors by their names, and generations; knows nothing of the cache or of HTTP.

recordings/NAME/recording.json    what is recorded, since when and until when
recordings/NAME/asked.jsonl       what was asked for; each process adds its lines
boards/.recordings                whether anything is recorded at all (`board.py`)
"""
