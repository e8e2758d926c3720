"""The operator's face: figures, dashboard, and what may be changed over HTTP."""
