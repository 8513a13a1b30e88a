"""The plumbing: it knows all rooms, and none of them knows it.

The files of this room, by what they are for.

what is set: settings environment secret
a server's life: serving worker_pool children background management unhurried
HTTP: asgi lean stock one_write middleware paths urls views
REST: problems rendering pagination throttles openapi
the embedded servers: embedded embedded_server embedded_places embedded_redis locks
looking after it: checks readiness health_probe logs watching dumps
"""
