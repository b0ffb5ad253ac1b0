"""Courses, lessons, videos, enrollments and progress."""

from models import Course, Enrollment, Lesson, LessonAttachment, LessonProgress, VideoUpload

TAGS = ("courses", "lessons", "my")
EVENTS: tuple[str, ...] = ()
MODELS = (Course, Enrollment, Lesson, LessonAttachment, LessonProgress, VideoUpload)
JOBS = ("videos.drop", "videos.remake", "videos.sweep", "videos.tidy", "videos.transcode")
