"""What each of the operator's pages shows: from a visit to the values of its template.

A view asks for what it shows in threads, a bounded share of it at a time, and changes nothing.
"""
