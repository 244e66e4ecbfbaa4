"""Recording what a tenant's systems answer, with everything secret and personal replaced."""
