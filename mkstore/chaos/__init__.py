"""`mkstore prove`: injects faults into a running store under load, and counts what was lost.

Simulated users pay, sign up, change their names and delete their accounts over HTTP while one fault after another is
injected. After each fault the databases and the streams are read directly and compared with the HTTP responses.
"""
