"""The documents of mirrors: fetched, verified, accepted as generations, and served as editions.

A request enters by `documents.py` and goes down:

    documents           what a client gets at a path
      currency          whether a reply that is ready may go out again
      checks            when a mirror is checked, and by which worker
        origin_check    one check: ask the origins, choose, accept
          assembling    an index with all that it names, from one origin, as a draft
            vetting       one document: fetched, verified, stored
            flavours      the other flavours of signed documents
            stragglers    how long a first generation waits for slow lists
      editions          which generations are accepted, held and served, in all workers
        loaded            what this worker has loaded of them
        shared_facts      what all workers know at once
        mirror_records    what is recorded of a mirror
          records           every record in the ledger: its form, and what one means that cannot be read
          last_accepted     the one record that stands in two places
          reverification    stored documents, verified again after the keys have changed

Values and decisions, which ask nobody: `generation` (and an edition), `draft` (and which one
to accept), `rollback` (what may not replace what was accepted), `freshness` (when a check is
due), `trouble` (what went wrong), `mirror_status` (what is said of all that), `unforeseen`
(errors that nobody foresaw). `reading` parses documents, large ones in a process of their own.
"""
