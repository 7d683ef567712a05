"""How does a message reach people where they already look: Slack, PagerDuty, a mailbox, a ticket system, the log?

Messages and channels, no rules. What a service is sent is built by pure modules and posted by `client.py`. Libraries were
weighed: apprise hides PagerDuty's `dedup_key` and its acknowledge and resolve, without which an incident never closes by
itself; slack_sdk and pagerduty wrap one POST each, bring retries of their own that count nowhere, and bound no whole
request. So httpx and smtplib, which are here anyway.
"""
