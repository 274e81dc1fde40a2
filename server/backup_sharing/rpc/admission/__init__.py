"""Which calls are accepted, and when: limits by peer, project, number and bytes."""
