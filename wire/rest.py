"""Types of openapi.yaml, written by `make types`: edit the spec, not this file."""

from typing import Literal, NotRequired, TypeAlias, TypedDict

Id: TypeAlias = str


NullableId: TypeAlias = str | None


Time: TypeAlias = str


NullableTime: TypeAlias = str | None


ErrorCode: TypeAlias = Literal[
    "request_invalid",
    "unauthenticated",
    "forbidden",
    "not_found",
    "method_not_allowed",
    "not_acceptable",
    "request_timeout",
    "payload_too_large",
    "uri_too_long",
    "unsupported_media_type",
    "headers_too_large",
    "rate_limited",
    "internal",
    "unavailable",
    "email_taken",
    "invalid_credentials",
    "account_banned",
    "refresh_token_invalid",
    "refresh_token_reused",
    "token_invalid",
    "password_too_common",
    "last_admin",
    "username_taken",
    "already_rated",
    "call_not_ended",
    "already_reported",
    "course_is_free",
    "already_enrolled",
    "payment_pending",
    "signature_invalid",
    "payment_refused",
    "order_not_refundable",
    "refund_pending",
    "refund_too_large",
    "not_enrolled",
    "course_in_use",
    "slug_taken",
    "lessons_differ",
    "video_not_ready",
    "upload_offset_differs",
    "upload_version_unsupported",
    "idempotency_key_reused",
    "idempotency_in_flight",
]


class Problem(TypedDict):
    type: str
    title: str
    status: int
    detail: str
    code: ErrorCode


class Health(TypedDict):
    status: Literal["ok"]
    timestamp: Time


class Check(TypedDict):
    isAvailable: bool
    milliseconds: float


class JsonWebKey(TypedDict):
    kty: Literal["RSA"]
    use: Literal["sig"]
    alg: Literal["RS256"]
    kid: str
    n: str
    e: str


Role: TypeAlias = Literal["student", "admin"]


Platform: TypeAlias = Literal["ios", "android", "web"]


Email: TypeAlias = str


Password: TypeAlias = str


DeviceId: TypeAlias = str


EmailToken: TypeAlias = str


class RegisterRequest(TypedDict):
    email: Email
    password: Password
    deviceId: DeviceId
    platform: Platform


class LoginRequest(TypedDict):
    email: Email
    password: Password
    deviceId: DeviceId
    platform: Platform
    deviceProof: NotRequired[str]


class RefreshRequest(TypedDict):
    refreshToken: NotRequired[str]


class ForgotPasswordRequest(TypedDict):
    email: Email


class ResetPasswordRequest(TypedDict):
    token: EmailToken
    newPassword: Password


class VerifyEmailRequest(TypedDict):
    token: EmailToken


class Device(TypedDict):
    deviceId: DeviceId
    platform: Platform
    loggedInAt: Time
    lastUsedAt: Time
    isCurrent: bool


class Account(TypedDict):
    id: Id
    email: str
    role: Role
    isVerified: bool


Level: TypeAlias = Literal["beginner", "intermediate", "advanced"]


LearningGoal: TypeAlias = Literal["fluency", "business", "travel", "exam"]


class Me(TypedDict):
    id: Id
    email: str
    role: Role
    isVerified: bool
    username: str | None
    displayName: str | None
    avatarUrl: str | None
    bio: str | None
    nativeLanguage: str | None
    englishLevel: Level | None
    learningGoal: LearningGoal | None
    country: str | None
    timezone: str | None
    totalPracticeMinutes: int
    totalCalls: int
    streakDays: int
    lastCallAt: NullableTime | None
    lastActiveAt: NullableTime | None
    createdAt: Time


DisplayName: TypeAlias = str | None


Bio: TypeAlias = str | None


class MeUpdate(TypedDict):
    username: NotRequired[str]
    displayName: NotRequired[DisplayName | None]
    bio: NotRequired[Bio | None]
    nativeLanguage: NotRequired[str | None]
    englishLevel: NotRequired[Level | None]
    learningGoal: NotRequired[LearningGoal | None]
    country: NotRequired[str | None]
    timezone: NotRequired[str | None]


class DeleteMeRequest(TypedDict):
    password: str


class AvatarUpload(TypedDict):
    file: str


class Avatar(TypedDict):
    avatarUrl: str


class PublicProfile(TypedDict):
    id: Id
    username: str | None
    displayName: str | None
    avatarUrl: str | None
    bio: str | None
    nativeLanguage: str | None
    englishLevel: Level | None
    learningGoal: LearningGoal | None
    country: str | None
    totalPracticeMinutes: int
    totalCalls: int
    streakDays: int


class Block(TypedDict):
    userId: Id
    username: str | None
    displayName: str | None
    avatarUrl: str | None
    blockedAt: Time


class BlockPage(TypedDict):
    items: list[Block]
    nextCursor: str | None


DisputeStatus: TypeAlias = Literal["open", "won", "lost"]


class ExportedLogin(TypedDict):
    deviceId: str
    platform: Platform
    createdAt: Time
    expiresAt: Time
    revokedAt: NullableTime | None


class ExportedRating(TypedDict):
    sessionId: Id
    ratedId: Id
    stars: int
    createdAt: Time


class ExportedBlock(TypedDict):
    userId: Id
    blockedAt: Time


class Rating(TypedDict):
    stars: int


ReportReason: TypeAlias = Literal["harassment", "spam", "inappropriate", "hate_speech", "other"]


ReportStatus: TypeAlias = Literal["pending", "reviewed", "actioned", "dismissed"]


Comment: TypeAlias = str


class ReportRequest(TypedDict):
    reportedId: Id
    sessionId: NotRequired[Id]
    reason: ReportReason
    description: NotRequired[Comment]


class Report(TypedDict):
    id: Id
    reportedId: Id
    sessionId: NullableId | None
    reason: ReportReason
    description: str | None
    status: ReportStatus
    createdAt: Time


class ReportPage(TypedDict):
    items: list[Report]
    nextCursor: str | None


class AdminReport(TypedDict):
    id: Id
    reporterId: Id
    reportedId: Id
    sessionId: NullableId | None
    reason: ReportReason
    description: str | None
    status: ReportStatus
    adminNote: str | None
    actionedAt: NullableTime | None
    createdAt: Time


class AdminReportPage(TypedDict):
    items: list[AdminReport]
    nextCursor: str | None


class ReportReview(TypedDict):
    status: NotRequired[ReportStatus]
    adminNote: NotRequired[Comment]
    ban: NotRequired[bool]


BanReason: TypeAlias = str


class BanRequest(TypedDict):
    reason: BanReason


Search: TypeAlias = str


class ApproximateCount(TypedDict):
    count: int
    isExact: bool


class AdminTotals(TypedDict):
    users: ApproximateCount
    calls: ApproximateCount
    courses: ApproximateCount
    orders: ApproximateCount


class AdminLiveCounts(TypedDict):
    searches: int | None
    rooms: int
    calls: int


class AdminQueueWait(TypedDict):
    medianSeconds: float | None
    matches: int


class AdminHour(TypedDict):
    since: Time
    matches: int


class AdminDay(TypedDict):
    day: str
    matches: int
    calls: int
    minutes: int


class AdminUser(TypedDict):
    id: Id
    email: str
    username: str | None
    displayName: str | None
    avatarUrl: str | None
    role: Role
    isVerified: bool
    isBanned: bool
    flaggedAt: NullableTime | None
    totalPracticeMinutes: int
    totalCalls: int
    lastActiveAt: NullableTime | None
    createdAt: Time


class AdminUserPage(TypedDict):
    items: list[AdminUser]
    nextCursor: str | None


AuditAction: TypeAlias = str


class AuditEntry(TypedDict):
    number: int
    createdAt: Time
    actorId: str | None
    action: AuditAction
    targetId: NullableId | None
    details: dict[str, object]
    hash: str


class AuditEntryPage(TypedDict):
    items: list[AuditEntry]
    nextCursor: str | None


CallLevel: TypeAlias = Literal["all", "beginner", "intermediate", "advanced"]


class Partner(TypedDict):
    userId: Id
    displayName: str
    avatarUrl: str | None
    level: Level | None


CallEnd: TypeAlias = Literal["me", "partner", "timeout", "error"]


Money: TypeAlias = int


Currency: TypeAlias = str


class CheckoutRequest(TypedDict):
    courseId: Id


class Checkout(TypedDict):
    orderId: Id
    url: str


OrderStatus: TypeAlias = Literal["pending", "processing", "paid", "failed", "expired", "refunded"]


PaymentProvider: TypeAlias = Literal["stripe", "razorpay"]


class Order(TypedDict):
    id: Id
    receiptId: str
    courseId: Id
    courseTitle: str
    amount: Money
    amountRefunded: Money
    currency: Currency
    status: OrderStatus
    provider: PaymentProvider
    isDisputed: bool
    paidAt: NullableTime | None
    createdAt: Time


class OrderPage(TypedDict):
    items: list[Order]
    nextCursor: str | None


class PushDevice(TypedDict):
    fcmToken: str
    deviceId: DeviceId
    platform: Platform


class PushDeviceRef(TypedDict):
    deviceId: DeviceId


NotificationType: TypeAlias = Literal[
    "match_found", "payment_success", "payment_failed", "system", "achievement", "admin_alert"
]


NotificationData: TypeAlias = dict[str, str]


class UnreadCount(TypedDict):
    unreadCount: int


class ExportedPushDevice(TypedDict):
    deviceId: str
    platform: Platform
    updatedAt: Time


OrderAlert: TypeAlias = Literal[
    "amount_differs",
    "currency_differs",
    "mode_differs",
    "session_differs",
    "paid_twice",
    "inquiry",
    "disputed",
    "refund_failed",
    "account_deleted",
]


RefundReason: TypeAlias = str


class RefundRequest(TypedDict):
    amount: NotRequired[int]
    reason: NotRequired[RefundReason]


RefundStatus: TypeAlias = Literal["pending", "succeeded", "failed"]


class WebhookReceipt(TypedDict):
    received: Literal[True]


class Course(TypedDict):
    id: Id
    title: str
    slug: str
    description: str
    thumbnailUrl: str | None
    price: Money
    currency: Currency
    level: Level
    isPublished: bool
    isEnrolled: bool
    createdAt: Time


class CoursePage(TypedDict):
    items: list[Course]
    nextCursor: str | None


class EnrollmentResponse(TypedDict):
    isEnrolled: bool
    orderId: NotRequired[Id]
    url: NotRequired[str]


class ExportedEnrollment(TypedDict):
    courseId: Id
    orderId: NullableId | None
    enrolledAt: Time


CourseTitle: TypeAlias = str


CourseText: TypeAlias = str


Slug: TypeAlias = str


Price: TypeAlias = int


class CourseDraft(TypedDict):
    title: CourseTitle
    slug: NotRequired[Slug]
    description: NotRequired[CourseText]
    price: Price
    currency: NotRequired[Currency]
    level: Level
    isPublished: NotRequired[bool]


class CourseUpdate(TypedDict):
    title: NotRequired[CourseTitle]
    slug: NotRequired[Slug]
    description: NotRequired[CourseText]
    price: NotRequired[Price]
    currency: NotRequired[Currency]
    level: NotRequired[Level]
    isPublished: NotRequired[bool]


class ThumbnailUpload(TypedDict):
    file: str


class Thumbnail(TypedDict):
    thumbnailUrl: str


class LessonDraft(TypedDict):
    title: CourseTitle
    description: NotRequired[CourseText]
    isFree: NotRequired[bool]


class LessonUpdate(TypedDict):
    title: NotRequired[CourseTitle]
    description: NotRequired[CourseText]
    isFree: NotRequired[bool]


class LessonOrder(TypedDict):
    lessonIds: list[Id]


VideoStatus: TypeAlias = Literal["none", "processing", "ready", "failed"]


class LessonPosition(TypedDict):
    watchSeconds: int


class LessonProgress(TypedDict):
    lessonId: Id
    watchSeconds: int
    isCompleted: bool
    completedAt: NullableTime | None


class CourseProgress(TypedDict):
    courseId: Id
    totalLessons: int
    completedLessons: int
    resumeLessonId: NullableId | None
    items: list[LessonProgress]


class CourseEnrollment(TypedDict):
    course: Course
    enrolledAt: Time
    totalLessons: int
    completedLessons: int


class CourseEnrollmentPage(TypedDict):
    items: list[CourseEnrollment]
    nextCursor: str | None


FileName: TypeAlias = str


class AttachmentUpload(TypedDict):
    file: str


class Attachment(TypedDict):
    id: Id
    name: FileName
    contentType: str
    size: int
    url: str
    expiresAt: Time
    createdAt: Time


class AttachmentList(TypedDict):
    items: list[Attachment]


UploadChunk: TypeAlias = str


class VideoLink(TypedDict):
    url: str
    expiresAt: Time


Playlist: TypeAlias = str


class ReadinessChecks(TypedDict):
    database: Check
    redis: Check
    storage: Check


class JsonWebKeySet(TypedDict):
    keys: list[JsonWebKey]


class DeviceList(TypedDict):
    items: list[Device]


class AuthTokens(TypedDict):
    accessToken: str
    tokenType: Literal["Bearer"]
    expiresInSeconds: int
    refreshToken: NotRequired[str]
    deviceProof: NotRequired[str]
    user: Account


class ExportedDispute(TypedDict):
    id: Id
    orderId: Id
    amount: Money
    currency: Currency
    status: DisputeStatus
    reason: str | None
    createdAt: Time


class ExportedCall(TypedDict):
    id: Id
    partnerId: Id
    topic: str | None
    level: CallLevel
    startedAt: Time
    connectedAt: NullableTime | None
    endedAt: NullableTime | None
    durationSeconds: int | None


class AdminRevenue(TypedDict):
    currency: Currency
    isLive: bool
    orders: int
    amount: Money
    refunds: int
    amountRefunded: Money


class Call(TypedDict):
    id: Id
    roomId: Id
    partner: Partner
    topic: str | None
    level: CallLevel
    startedAt: Time
    connectedAt: NullableTime | None
    endedAt: NullableTime | None
    durationSeconds: int | None
    endedBy: CallEnd | None
    myRating: int | None


class CallPage(TypedDict):
    items: list[Call]
    nextCursor: str | None


class Notification(TypedDict):
    id: Id
    type: NotificationType
    title: str
    body: str
    data: NotificationData | None
    isRead: bool
    createdAt: Time
    readAt: NullableTime | None


class NotificationPage(TypedDict):
    items: list[Notification]
    nextCursor: str | None
    unreadCount: int


class AdminOrder(TypedDict):
    id: Id
    receiptId: str
    userId: Id
    courseId: Id
    courseTitle: str
    amount: Money
    amountRefunded: Money
    currency: Currency
    status: OrderStatus
    provider: PaymentProvider
    providerPaymentId: str | None
    isDisputed: bool
    isUnderInquiry: bool
    alerts: list[OrderAlert]
    paidAt: NullableTime | None
    createdAt: Time


class AdminOrderPage(TypedDict):
    items: list[AdminOrder]
    nextCursor: str | None


class Refund(TypedDict):
    id: Id
    orderId: Id
    amount: Money
    currency: Currency
    status: RefundStatus
    reason: str | None
    createdAt: Time


class Lesson(TypedDict):
    id: Id
    courseId: Id
    title: str
    description: str
    orderIndex: int
    isFree: bool
    isPlayable: bool
    durationSeconds: int | None
    videoStatus: VideoStatus | None
    videoProgress: int | None
    videoError: str | None
    createdAt: Time


class LessonList(TypedDict):
    items: list[Lesson]


class Readiness(TypedDict):
    status: Literal["ok"]
    checks: ReadinessChecks


class DataExport(TypedDict):
    exportedAt: Time
    me: Me
    logins: list[ExportedLogin]
    calls: list[ExportedCall]
    ratings: list[ExportedRating]
    reports: list[Report]
    blocks: list[ExportedBlock]
    orders: list[Order]
    refunds: list[Refund]
    disputes: list[ExportedDispute]
    enrollments: list[ExportedEnrollment]
    progress: list[LessonProgress]
    notifications: list[Notification]
    pushDevices: list[ExportedPushDevice]


class AdminStats(TypedDict):
    computedAt: Time
    totals: AdminTotals
    activeToday: int
    newToday: int
    openReports: int
    flaggedUsers: int
    openDisputes: int
    live: AdminLiveCounts
    wait: AdminQueueWait
    hours: list[AdminHour]
    days: list[AdminDay]
    revenue: list[AdminRevenue]


class AdminUserDetail(TypedDict):
    id: Id
    email: str
    username: str | None
    displayName: str | None
    avatarUrl: str | None
    role: Role
    isVerified: bool
    isBanned: bool
    flaggedAt: NullableTime | None
    totalPracticeMinutes: int
    totalCalls: int
    lastActiveAt: NullableTime | None
    createdAt: Time
    bio: str | None
    nativeLanguage: str | None
    englishLevel: Level | None
    learningGoal: LearningGoal | None
    country: str | None
    timezone: str | None
    streakDays: int
    lastCallAt: NullableTime | None
    banReason: str | None
    bannedAt: NullableTime | None
    bannedBy: NullableId | None
    deletedAt: NullableTime | None
    calls: list[Call]
    reportsAbout: list[AdminReport]
    reportsBy: list[AdminReport]
    orders: list[AdminOrder]
    bans: list[AuditEntry]
