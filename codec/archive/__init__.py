"""Trees of files as archives: what is in them (plan, manifest), how a file is kept (keeping, form), who does it (runners, cluster)."""
