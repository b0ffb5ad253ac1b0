"""Several hosts in network namespaces, and faults of hosts, networks and stores. `make hosts`."""
