"""`mkstore prove`: breaks a running store in every way it knows, and counts what was lost.

People pay, sign up, change and leave over HTTP while one fault after the other strikes; after each the databases and
the streams are read past the services and compared with what the people were told.
"""
