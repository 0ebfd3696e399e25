"""What the gateway and the cloud must agree on. Pure: no I/O, no clock, no dice."""
