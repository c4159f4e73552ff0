"""When pipelines start by themselves: by cron, by interval, or when traffic drifts."""
