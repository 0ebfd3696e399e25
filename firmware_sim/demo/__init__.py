"""The whole chain on one machine: simulator, broker, gateway, cloud and page, as processes of their own."""
