"""The operator's pages and API: figures, dashboard, and what may be changed over HTTP."""
