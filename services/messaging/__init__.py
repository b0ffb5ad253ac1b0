"""Messages to users: notifications, push devices and e-mails."""

from models import DeviceToken, Notification

TAGS = ("notifications",)
EVENTS = ("notification",)
MODELS = (DeviceToken, Notification)
JOBS = ("notifications.announce", "notifications.push")
