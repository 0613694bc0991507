"""HTTP to requests and back: one more way to the same host. The only place that imports FastAPI and uvicorn,
and imported only where HTTP is asked for.

One file a dialect (`openai.py`, …), each a function that makes a router for a `Gateway`; `app.py` has the
list of them.
"""
