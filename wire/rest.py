"""Types of openapi.yaml, written by `make types`: edit the spec, not this file."""

from typing import Literal, NotRequired, TypeAlias, TypedDict

Id: TypeAlias = str


UserId: TypeAlias = str


CallId: TypeAlias = str


RoomId: TypeAlias = str


AppointmentId: TypeAlias = str


ReportId: TypeAlias = str


SanctionId: TypeAlias = str


AppealId: TypeAlias = str


OrderId: TypeAlias = str


RefundId: TypeAlias = str


DisputeId: TypeAlias = str


NotificationId: TypeAlias = str


CourseId: TypeAlias = str


LessonId: TypeAlias = str


AttachmentId: TypeAlias = str


Time: TypeAlias = str


NullableTime: TypeAlias = str | None


NextCursor: TypeAlias = str | None


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
    "account_suspended",
    "refresh_token_invalid",
    "refresh_token_reused",
    "token_invalid",
    "password_too_common",
    "id_token_invalid",
    "code_invalid",
    "passkey_invalid",
    "authorization_failed",
    "email_missing",
    "password_required",
    "identity_taken",
    "last_login_method",
    "too_many_login_methods",
    "last_admin",
    "second_factor_required",
    "second_factor_invalid",
    "age_required",
    "too_young",
    "terms_required",
    "email_unverified",
    "username_taken",
    "text_refused",
    "picture_refused",
    "already_rated",
    "call_not_ended",
    "already_reported",
    "already_sanctioned",
    "sanction_lifted",
    "already_appealed",
    "appeal_closed",
    "picture_not_waiting",
    "too_many_partners",
    "too_many_appointments",
    "appointment_exists",
    "appointment_closed",
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


class Health(TypedDict):
    status: Literal["ok"]
    timestamp: Time


class PolicyDocument(TypedDict):
    name: Literal["terms", "rules", "privacy"]
    version: str
    title: str
    url: str


class PolicyContact(TypedDict):
    email: str | None
    address: str | None
    url: str


WayToMeet: TypeAlias = Literal["anyone", "partners", "course"]


class PairingPlatforms(TypedDict):
    ios: list[WayToMeet]
    android: list[WayToMeet]
    web: list[WayToMeet]


class RetentionRule(TypedDict):
    name: str
    data: str
    days: int | None
    rule: str


class Check(TypedDict):
    isAvailable: bool
    answerMilliseconds: float


class JsonWebKey(TypedDict):
    kty: Literal["RSA"]
    use: Literal["sig"]
    alg: Literal["RS256"]
    kid: str
    n: str
    e: str


Role: TypeAlias = Literal["student", "admin", "moderator"]


Platform: TypeAlias = Literal["ios", "android", "web"]


Email: TypeAlias = str


AccountEmail: TypeAlias = str


IsVerified: TypeAlias = bool


Password: TypeAlias = str


DeviceId: TypeAlias = str


DeviceProof: TypeAlias = str


EmailToken: TypeAlias = str


RefreshToken: TypeAlias = str


class RefreshRequest(TypedDict):
    refreshToken: NotRequired[RefreshToken]


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


SecondFactorCode: TypeAlias = str


class SecondFactor(TypedDict):
    isEnrolled: bool
    isRequired: bool
    enrolledAt: NullableTime | None
    provenAt: NullableTime | None
    recoveryCodesLeft: int
    passkeyCount: int


class SecondFactorRequest(TypedDict):
    password: str
    code: NotRequired[SecondFactorCode]


QrCodeItem: TypeAlias = str


class SecondFactorSecret(TypedDict):
    secret: str
    otpauthUri: str
    qrCode: list[QrCodeItem]
    expiresAt: Time


class SecondFactorProofRequest(TypedDict):
    code: SecondFactorCode


class SecondFactorProof(TypedDict):
    accessToken: str
    tokenType: Literal["Bearer"]
    expiresInSeconds: int


RecoveryCode: TypeAlias = str


class SecondFactorConfirmation(TypedDict):
    accessToken: str
    tokenType: Literal["Bearer"]
    expiresInSeconds: int
    recoveryCodes: list[RecoveryCode]


class RecoveryCodes(TypedDict):
    recoveryCodes: list[RecoveryCode]


class Account(TypedDict):
    id: UserId
    email: AccountEmail
    role: Role
    isVerified: IsVerified


Level: TypeAlias = Literal["beginner", "intermediate", "advanced"]


LearningGoal: TypeAlias = Literal["fluency", "business", "travel", "exam"]


Username: TypeAlias = str


DisplayName: TypeAlias = str | None


AvatarUrl: TypeAlias = str | None


Bio: TypeAlias = str | None


NativeLanguage: TypeAlias = str | None


Country: TypeAlias = str | None


Timezone: TypeAlias = str | None


SharesPresence: TypeAlias = bool


TotalPracticeMinutes: TypeAlias = int


TotalCalls: TypeAlias = int


StreakDays: TypeAlias = int


MissingStep: TypeAlias = Literal[
    "email_unverified", "age_required", "too_young", "terms_required", "profile_incomplete"
]


AgeBand: TypeAlias = Literal["under_13", "13_15", "16_17", "18_plus"]


BirthDate: TypeAlias = str


class AgeDeclaration(TypedDict):
    birthDate: NotRequired[BirthDate]
    ageBand: NotRequired[AgeBand]
    source: NotRequired[Literal["apple", "google"]]


DocumentName: TypeAlias = str


DocumentVersion: TypeAlias = str


class MeUpdate(TypedDict):
    username: NotRequired[Username]
    displayName: NotRequired[DisplayName | None]
    bio: NotRequired[Bio | None]
    nativeLanguage: NotRequired[NativeLanguage | None]
    englishLevel: NotRequired[Level | None]
    learningGoal: NotRequired[LearningGoal | None]
    country: NotRequired[Country | None]
    timezone: NotRequired[Timezone | None]
    sharesPresence: NotRequired[SharesPresence]


PresentPassword: TypeAlias = str


EmailChallengeId: TypeAlias = str


EmailCode: TypeAlias = str


PasskeyChallengeToken: TypeAlias = str


PasskeyCredentialJson: TypeAlias = str


class PasskeyChallenge(TypedDict):
    challengeToken: PasskeyChallengeToken
    optionsJson: str
    expiresAt: Time


class PasskeyLoginRequest(TypedDict):
    challengeToken: PasskeyChallengeToken
    credentialJson: PasskeyCredentialJson
    deviceId: DeviceId
    platform: Platform


PasskeyId: TypeAlias = str


PasskeyName: TypeAlias = str


class Passkey(TypedDict):
    id: PasskeyId
    name: PasskeyName
    createdAt: Time
    lastUsedAt: NullableTime | None
    isSynced: bool


class UndoableEmailChange(TypedDict):
    oldEmail: Email
    changedAt: Time
    undoUntil: Time


class EmailChangeConfirmation(TypedDict):
    challengeId: EmailChallengeId
    code: EmailCode


class EmailChangeUndoRequest(TypedDict):
    token: EmailToken


IdentityProviderId: TypeAlias = str


IdToken: TypeAlias = str


IdTokenNonce: TypeAlias = str


ProviderCode: TypeAlias = str


IdentityGrant: TypeAlias = str


class PasskeyOffer(TypedDict):
    isOffered: bool
    rpId: str | None


ProviderClientId: TypeAlias = str


class EmailCodeRequest(TypedDict):
    email: Email
    deviceId: NotRequired[DeviceId]
    deviceProof: NotRequired[DeviceProof]


class EmailChallenge(TypedDict):
    challengeId: EmailChallengeId
    expiresInSeconds: int


class Identity(TypedDict):
    id: Id
    provider: IdentityProviderId
    email: str | None
    createdAt: Time
    lastUsedAt: NullableTime | None


class AuthorizationRequest(TypedDict):
    provider: IdentityProviderId


class Authorization(TypedDict):
    authorizationUrl: str


class AuthorizationCodeRequest(TypedDict):
    code: str
    state: str


class AuthorizationTokens(TypedDict):
    provider: IdentityProviderId
    idToken: IdToken
    nonce: IdTokenNonce
    grant: NotRequired[IdentityGrant]


class AvatarUpload(TypedDict):
    file: str


class Avatar(TypedDict):
    isUnderReview: bool
    avatarUrl: str


class PublicProfile(TypedDict):
    id: UserId
    username: Username | None
    displayName: DisplayName | None
    avatarUrl: AvatarUrl | None
    bio: Bio | None
    nativeLanguage: NativeLanguage | None
    englishLevel: Level | None
    learningGoal: LearningGoal | None
    country: Country | None
    totalPracticeMinutes: TotalPracticeMinutes
    totalCalls: TotalCalls
    streakDays: StreakDays


class Block(TypedDict):
    userId: UserId
    username: Username | None
    displayName: DisplayName | None
    avatarUrl: AvatarUrl | None
    blockedAt: Time


class BlockPage(TypedDict):
    items: list[Block]
    nextCursor: NextCursor | None


class ExportedIdentity(TypedDict):
    provider: IdentityProviderId
    subject: str
    email: str | None
    createdAt: Time
    lastUsedAt: NullableTime | None


class ExportedEmailChange(TypedDict):
    oldEmail: Email
    newEmail: Email
    changedAt: Time


class ExportedAge(TypedDict):
    ageBand: AgeBand
    source: Literal["declared", "apple", "google", "operator"]
    setAt: Time


class ExportedConsent(TypedDict):
    document: DocumentName
    version: DocumentVersion
    action: Literal["given", "withdrawn"]
    at: Time


DisputeStatus: TypeAlias = Literal["open", "won", "lost"]


class ExportedLogin(TypedDict):
    deviceId: DeviceId
    platform: Platform
    createdAt: Time
    expiresAt: Time
    revokedAt: NullableTime | None


class ExportedSkill(TypedDict):
    mean: float
    deviation: float
    calls: int
    day: str


class ExportedPairingRecord(TypedDict):
    points: float
    pointsAt: Time
    warnedAt: NullableTime | None
    restingUntil: NullableTime | None
    rests: int


class ExportedPartnerWish(TypedDict):
    userId: UserId
    askedAt: Time


class ExportedInvitation(TypedDict):
    id: str
    partnerId: UserId
    isInviter: bool
    topic: str | None
    state: Literal["open", "accepted", "declined", "cancelled", "expired"]
    createdAt: Time
    expiresAt: Time
    endedAt: NullableTime | None


class ExportedBlock(TypedDict):
    userId: UserId
    blockedAt: Time


Stars: TypeAlias = int


FeedbackPace: TypeAlias = Literal["easier", "same", "harder"]


ReportReason: TypeAlias = Literal[
    "harassment", "spam", "inappropriate", "hate_speech", "other", "minor_safety", "threat"
]


ReportStatus: TypeAlias = Literal["pending", "reviewed", "actioned", "dismissed"]


ReportOutcome: TypeAlias = Literal["acted", "no_action"]


Comment: TypeAlias = str


class ReportRequest(TypedDict):
    reportedId: UserId
    sessionId: NotRequired[CallId]
    reason: ReportReason
    description: NotRequired[Comment]
    isBlocked: NotRequired[bool]


class Report(TypedDict):
    id: ReportId
    reportedId: UserId
    sessionId: CallId | None
    reason: ReportReason
    description: Comment | None
    status: ReportStatus
    outcome: ReportOutcome | None
    createdAt: Time


class ReportPage(TypedDict):
    items: list[Report]
    nextCursor: NextCursor | None


class ReportCounts(TypedDict):
    pending: int
    actioned: int
    reviewed: int
    dismissed: int
    heldUntil: NullableTime | None


class ReportQueueCounts(TypedDict):
    open: int
    urgent: int
    overdue: int


PictureCause: TypeAlias = Literal["screen", "reports"]


PictureUrl: TypeAlias = str


class AdminPicture(TypedDict):
    userId: UserId
    username: Username | None
    displayName: DisplayName | None
    avatarUrl: PictureUrl
    causes: list[PictureCause]
    reports: int
    weight: float
    waitingSince: Time
    reviewedAt: NullableTime | None
    reviewNote: Comment | None


class AdminPicturePage(TypedDict):
    items: list[AdminPicture]
    nextCursor: NextCursor | None


PictureOutcome: TypeAlias = Literal["keep", "remove"]


class PictureDecision(TypedDict):
    avatarUrl: PictureUrl
    outcome: PictureOutcome
    note: NotRequired[Comment]


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
    callMinutes: int


SanctionKind: TypeAlias = Literal["warning", "suspension", "ban"]


SanctionGround: TypeAlias = Literal[
    "harassment", "spam", "inappropriate", "hate_speech", "minor_safety", "threat", "underage", "fraud", "other"
]


SanctionFacts: TypeAlias = str


SuspensionDays: TypeAlias = int


class SanctionRequest(TypedDict):
    kind: SanctionKind
    ground: SanctionGround
    facts: SanctionFacts
    days: NotRequired[SuspensionDays]
    reportId: NotRequired[ReportId]


class ReportSanction(TypedDict):
    kind: SanctionKind
    ground: NotRequired[SanctionGround]
    facts: SanctionFacts
    days: NotRequired[SuspensionDays]


DecisionReason: TypeAlias = str


AppealStatus: TypeAlias = Literal["open", "upheld", "overturned", "closed"]


AppealOutcome: TypeAlias = Literal["upheld", "overturned"]


AppealWords: TypeAlias = str


class AppealText(TypedDict):
    text: AppealWords


AppealToken: TypeAlias = str


class Appeal(TypedDict):
    id: AppealId
    text: str | None
    status: AppealStatus
    createdAt: Time
    decidedAt: NullableTime | None
    decisionReason: str | None


class AppealDecision(TypedDict):
    outcome: AppealOutcome
    reason: DecisionReason


class AdminAppealCounts(TypedDict):
    open: int
    upheld: int
    overturned: int


class AdminUser(TypedDict):
    id: UserId
    email: AccountEmail
    username: Username | None
    displayName: DisplayName | None
    avatarUrl: AvatarUrl | None
    role: Role
    isVerified: IsVerified
    isBanned: bool
    suspendedUntil: NullableTime | None
    flaggedAt: NullableTime | None
    totalPracticeMinutes: TotalPracticeMinutes
    totalCalls: TotalCalls
    lastActiveAt: NullableTime | None
    createdAt: Time


class AdminUserPage(TypedDict):
    items: list[AdminUser]
    nextCursor: NextCursor | None


class StaffAccount(TypedDict):
    id: UserId
    email: AccountEmail
    role: Role
    isSecondFactorEnrolled: bool
    logins: int
    lastUsedAt: NullableTime | None
    createdAt: Time


class StaffPage(TypedDict):
    items: list[StaffAccount]
    nextCursor: NextCursor | None


class StaffLogin(TypedDict):
    id: str
    deviceId: DeviceId
    platform: Platform
    loggedInAt: Time
    lastUsedAt: Time
    factorProvenAt: NullableTime | None
    isCurrent: bool


AuditAction: TypeAlias = str


class AuditEntry(TypedDict):
    number: int
    createdAt: Time
    actorId: UserId | None
    action: AuditAction
    targetId: Id | None
    details: dict[str, object]
    hash: str


class AuditEntryPage(TypedDict):
    items: list[AuditEntry]
    nextCursor: NextCursor | None


CallLevel: TypeAlias = Literal["all", "beginner", "intermediate", "advanced"]


class Partner(TypedDict):
    userId: UserId
    displayName: str
    avatarUrl: AvatarUrl | None
    level: Level | None


CallEnd: TypeAlias = Literal["me", "partner", "timeout", "error"]


Presence: TypeAlias = Literal["online", "in_call", "offline"]


class Partnership(TypedDict):
    userId: UserId
    displayName: str
    avatarUrl: AvatarUrl | None
    level: Level | None
    since: Time
    presence: Presence | None


class PartnershipPage(TypedDict):
    items: list[Partnership]
    nextCursor: NextCursor | None


LocalTime: TypeAlias = str


ZoneName: TypeAlias = str


UtcOffset: TypeAlias = str


AppointmentMinutes: TypeAlias = int


AppointmentNote: TypeAlias = str


AppointmentState: TypeAlias = Literal["proposed", "accepted", "declined", "cancelled"]


class AppointmentProposal(TypedDict):
    partnerId: UserId
    localTime: LocalTime
    timezone: ZoneName
    utcOffset: NotRequired[UtcOffset]
    durationMinutes: AppointmentMinutes
    note: NotRequired[AppointmentNote]


class Appointment(TypedDict):
    id: AppointmentId
    partner: Partner
    isProposer: bool
    startsAt: Time
    localTime: LocalTime
    timezone: ZoneName
    utcOffset: UtcOffset
    durationMinutes: AppointmentMinutes
    note: AppointmentNote | None
    state: AppointmentState
    createdAt: Time
    answeredAt: NullableTime | None


class AppointmentPage(TypedDict):
    items: list[Appointment]
    nextCursor: NextCursor | None


Money: TypeAlias = int


Currency: TypeAlias = str


class CheckoutRequest(TypedDict):
    courseId: CourseId


CheckoutUrl: TypeAlias = str


class Checkout(TypedDict):
    orderId: OrderId
    url: CheckoutUrl


OrderStatus: TypeAlias = Literal["pending", "processing", "paid", "failed", "expired", "refunded"]


PaymentProvider: TypeAlias = Literal["stripe", "razorpay"]


ReceiptId: TypeAlias = str


class Order(TypedDict):
    id: OrderId
    receiptId: ReceiptId
    courseId: CourseId
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
    nextCursor: NextCursor | None


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
    deviceId: DeviceId
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


class ProviderEvent(TypedDict):
    pass


class WebhookReceipt(TypedDict):
    isReceived: Literal[True]


CourseTitle: TypeAlias = str


CourseText: TypeAlias = str


Slug: TypeAlias = str


Price: TypeAlias = int


IsPublished: TypeAlias = bool


ThumbnailUrl: TypeAlias = str | None


class Course(TypedDict):
    id: CourseId
    title: CourseTitle
    slug: Slug
    description: CourseText
    thumbnailUrl: ThumbnailUrl | None
    price: Price
    currency: Currency
    level: Level
    isPublished: IsPublished
    isEnrolled: bool
    createdAt: Time


class CoursePage(TypedDict):
    items: list[Course]
    nextCursor: NextCursor | None


class EnrollmentResponse(TypedDict):
    isEnrolled: bool
    orderId: NotRequired[OrderId]
    url: NotRequired[CheckoutUrl]


class ExportedEnrollment(TypedDict):
    courseId: CourseId
    orderId: OrderId | None
    enrolledAt: Time


class CourseDraft(TypedDict):
    title: CourseTitle
    slug: NotRequired[Slug]
    description: NotRequired[CourseText]
    price: Price
    currency: NotRequired[Currency]
    level: Level
    isPublished: NotRequired[IsPublished]


class CourseUpdate(TypedDict):
    title: NotRequired[CourseTitle]
    slug: NotRequired[Slug]
    description: NotRequired[CourseText]
    price: NotRequired[Price]
    currency: NotRequired[Currency]
    level: NotRequired[Level]
    isPublished: NotRequired[IsPublished]


class ThumbnailUpload(TypedDict):
    file: str


class Thumbnail(TypedDict):
    thumbnailUrl: str


LessonTitle: TypeAlias = str


LessonText: TypeAlias = str


IsFree: TypeAlias = bool


class LessonDraft(TypedDict):
    title: LessonTitle
    description: NotRequired[LessonText]
    isFree: NotRequired[IsFree]


class LessonUpdate(TypedDict):
    title: NotRequired[LessonTitle]
    description: NotRequired[LessonText]
    isFree: NotRequired[IsFree]


class LessonOrder(TypedDict):
    lessonIds: list[LessonId]


VideoStatus: TypeAlias = Literal["none", "processing", "ready", "failed"]


class LessonPosition(TypedDict):
    watchSeconds: int


class LessonProgress(TypedDict):
    lessonId: LessonId
    watchSeconds: int
    isCompleted: bool
    completedAt: NullableTime | None


TotalLessons: TypeAlias = int


CompletedLessons: TypeAlias = int


class CourseProgress(TypedDict):
    courseId: CourseId
    totalLessons: TotalLessons
    completedLessons: CompletedLessons
    resumeLessonId: LessonId | None
    items: list[LessonProgress]


class CourseEnrollment(TypedDict):
    course: Course
    enrolledAt: Time
    totalLessons: TotalLessons
    completedLessons: CompletedLessons


class CourseEnrollmentPage(TypedDict):
    items: list[CourseEnrollment]
    nextCursor: NextCursor | None


FileName: TypeAlias = str


class AttachmentUpload(TypedDict):
    file: str


class Attachment(TypedDict):
    id: AttachmentId
    name: FileName
    contentType: str
    sizeBytes: int
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


class Policy(TypedDict):
    documents: list[PolicyDocument]
    minimumAge: int
    minorPools: Literal["off", "on"]
    contact: PolicyContact
    waysToMeet: list[WayToMeet]
    pairing: PairingPlatforms
    retention: list[RetentionRule]


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
    refreshToken: NotRequired[RefreshToken]
    deviceProof: NotRequired[DeviceProof]
    user: Account


class Me(TypedDict):
    id: UserId
    email: AccountEmail
    role: Role
    isVerified: IsVerified
    username: Username | None
    displayName: DisplayName | None
    avatarUrl: AvatarUrl | None
    bio: Bio | None
    nativeLanguage: NativeLanguage | None
    englishLevel: Level | None
    learningGoal: LearningGoal | None
    country: Country | None
    timezone: Timezone | None
    sharesPresence: SharesPresence
    totalPracticeMinutes: TotalPracticeMinutes
    totalCalls: TotalCalls
    streakDays: StreakDays
    lastCallAt: NullableTime | None
    lastActiveAt: NullableTime | None
    createdAt: Time
    ageBand: AgeBand | None
    missing: list[MissingStep]


class Consent(TypedDict):
    document: DocumentName
    title: str
    version: DocumentVersion
    acceptedVersion: DocumentVersion | None
    acceptedAt: NullableTime | None


class ConsentRequest(TypedDict):
    document: DocumentName
    version: DocumentVersion


class EmailCodeProof(TypedDict):
    challengeId: EmailChallengeId
    code: EmailCode


class PasskeyProof(TypedDict):
    challengeToken: PasskeyChallengeToken
    credentialJson: PasskeyCredentialJson


class PasskeyRegistration(TypedDict):
    challengeToken: PasskeyChallengeToken
    credentialJson: PasskeyCredentialJson
    name: PasskeyName


class IdTokenProof(TypedDict):
    provider: IdentityProviderId
    idToken: IdToken
    nonce: IdTokenNonce


class IdTokenLoginRequest(TypedDict):
    provider: IdentityProviderId
    idToken: IdToken
    nonce: IdTokenNonce
    authorizationCode: NotRequired[ProviderCode]
    grant: NotRequired[IdentityGrant]
    password: NotRequired[PresentPassword]
    secondFactorCode: NotRequired[SecondFactorCode]
    secondFactorPasskey: NotRequired[PasskeyProof]
    deviceId: DeviceId
    platform: Platform


class ProviderClientIds(TypedDict):
    ios: list[ProviderClientId]
    android: list[ProviderClientId]
    web: list[ProviderClientId]


class EmailCodeLoginRequest(TypedDict):
    challengeId: EmailChallengeId
    email: Email
    code: EmailCode
    deviceId: DeviceId
    platform: Platform
    deviceProof: NotRequired[DeviceProof]
    secondFactorCode: NotRequired[SecondFactorCode]
    secondFactorPasskey: NotRequired[PasskeyProof]


class MyLoginMethods(TypedDict):
    email: Email
    isVerified: bool
    hasPassword: bool
    identities: list[Identity]
    passkeys: list[Passkey]
    undoableEmailChange: UndoableEmailChange | None


class ExportedDispute(TypedDict):
    id: DisputeId
    orderId: OrderId
    amount: Money
    currency: Currency
    status: DisputeStatus
    reason: str | None
    createdAt: Time


class ExportedCall(TypedDict):
    id: CallId
    partnerId: UserId
    topic: str | None
    level: CallLevel
    startedAt: Time
    connectedAt: NullableTime | None
    endedAt: NullableTime | None
    outcome: Literal["good", "declined", "not_joined", "left_early", "forgiven"] | None
    durationSeconds: int | None


class ExportedRating(TypedDict):
    sessionId: CallId
    ratedId: UserId
    stars: Stars
    pace: Literal["easier", "same", "harder"] | None
    createdAt: Time


class ExportedAppointment(TypedDict):
    id: AppointmentId
    partnerId: UserId
    isProposer: bool
    startsAt: Time
    localTime: LocalTime
    timezone: ZoneName
    durationMinutes: AppointmentMinutes
    note: AppointmentNote | None
    state: AppointmentState
    createdAt: Time
    answeredAt: NullableTime | None


class Rating(TypedDict):
    stars: Stars
    pace: NotRequired[FeedbackPace]


class AdminReport(TypedDict):
    id: ReportId
    reporterId: UserId
    reportedId: UserId
    sessionId: CallId | None
    reason: ReportReason
    description: Comment | None
    status: ReportStatus
    adminNote: Comment | None
    actionedAt: NullableTime | None
    createdAt: Time
    isUrgent: bool
    weight: float
    rank: float
    dueAt: Time
    decidedAt: NullableTime | None
    isBlocked: bool
    callSeconds: int | None
    about: ReportCounts


class AdminReportPage(TypedDict):
    items: list[AdminReport]
    nextCursor: NextCursor | None
    counts: ReportQueueCounts


class ReportReview(TypedDict):
    status: NotRequired[ReportStatus]
    adminNote: NotRequired[Comment]
    isBanned: NotRequired[bool]
    sanction: NotRequired[ReportSanction]


class AdminRevenue(TypedDict):
    currency: Currency
    isLive: bool
    orders: int
    amount: int
    refunds: int
    amountRefunded: int


class LiftRequest(TypedDict):
    reason: DecisionReason


class Sanction(TypedDict):
    id: SanctionId
    kind: SanctionKind
    ground: SanctionGround
    facts: str | None
    startsAt: Time
    endsAt: NullableTime | None
    appealUntil: Time
    isAppealable: bool
    liftedAt: NullableTime | None
    acknowledgedAt: NullableTime | None
    appeal: Appeal | None


class SanctionInForce(TypedDict):
    id: SanctionId
    kind: SanctionKind
    ground: SanctionGround
    facts: str | None
    startsAt: Time
    endsAt: NullableTime | None
    appealUntil: Time
    isAppealable: bool
    liftedAt: NullableTime | None
    acknowledgedAt: NullableTime | None
    appeal: Appeal | None
    appealToken: str | None


class SanctionPage(TypedDict):
    items: list[Sanction]
    nextCursor: NextCursor | None


class AdminSanction(TypedDict):
    id: SanctionId
    kind: SanctionKind
    ground: SanctionGround
    startsAt: Time
    endsAt: NullableTime | None
    appealUntil: Time
    isAppealable: bool
    liftedAt: NullableTime | None
    acknowledgedAt: NullableTime | None
    appeal: Appeal | None
    userId: UserId
    facts: str | None
    isInternal: bool
    issuedBy: UserId | None
    reportId: ReportId | None
    liftedBy: UserId | None
    liftReason: str | None


class AdminSanctionPage(TypedDict):
    items: list[AdminSanction]
    nextCursor: NextCursor | None


class AppealRequest(TypedDict):
    token: AppealToken
    text: AppealWords


class AppealTokenRequest(TypedDict):
    token: AppealToken


class AdminAppeal(TypedDict):
    id: AppealId
    text: str | None
    status: AppealStatus
    createdAt: Time
    decidedAt: NullableTime | None
    decisionReason: str | None
    decidedBy: UserId | None
    displayName: DisplayName | None
    sanction: AdminSanction


class AdminAppealPage(TypedDict):
    items: list[AdminAppeal]
    nextCursor: NextCursor | None


class StaffLoginList(TypedDict):
    items: list[StaffLogin]


class Call(TypedDict):
    id: CallId
    roomId: RoomId
    partner: Partner
    topic: str | None
    level: CallLevel
    startedAt: Time
    connectedAt: NullableTime | None
    endedAt: NullableTime | None
    durationSeconds: int | None
    endedBy: CallEnd | None
    myRating: Stars | None


class CallPage(TypedDict):
    items: list[Call]
    nextCursor: NextCursor | None


class Notification(TypedDict):
    id: NotificationId
    type: NotificationType
    title: str
    body: str
    data: NotificationData | None
    isRead: bool
    createdAt: Time
    readAt: NullableTime | None


class NotificationPage(TypedDict):
    items: list[Notification]
    nextCursor: NextCursor | None
    unreadCount: int


class AdminOrder(TypedDict):
    id: OrderId
    receiptId: ReceiptId
    userId: UserId
    courseId: CourseId
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
    nextCursor: NextCursor | None


class Refund(TypedDict):
    id: RefundId
    orderId: OrderId
    amount: Money
    currency: Currency
    status: RefundStatus
    reason: RefundReason | None
    createdAt: Time


class Lesson(TypedDict):
    id: LessonId
    courseId: CourseId
    title: LessonTitle
    description: LessonText
    orderIndex: int
    isFree: IsFree
    isPlayable: bool
    durationSeconds: int | None
    videoStatus: VideoStatus | None
    videoProgress: int | None
    videoError: str | None
    createdAt: Time


class LessonList(TypedDict):
    items: list[Lesson]


class Problem(TypedDict):
    type: str
    title: str
    status: int
    detail: str
    code: ErrorCode
    sanction: NotRequired[SanctionInForce]


class Readiness(TypedDict):
    status: Literal["ok"]
    checks: ReadinessChecks


class RegisterRequest(TypedDict):
    email: Email
    password: Password
    deviceId: DeviceId
    platform: Platform
    birthDate: NotRequired[BirthDate]
    consents: NotRequired[list[ConsentRequest]]


class LoginRequest(TypedDict):
    email: Email
    password: Password
    deviceId: DeviceId
    platform: Platform
    deviceProof: NotRequired[DeviceProof]
    secondFactorCode: NotRequired[SecondFactorCode]
    secondFactorPasskey: NotRequired[PasskeyProof]


class SecondFactorAnswer(TypedDict):
    code: NotRequired[SecondFactorCode]
    passkey: NotRequired[PasskeyProof]


class ConsentList(TypedDict):
    items: list[Consent]


class Proof(TypedDict):
    password: NotRequired[PresentPassword]
    emailCode: NotRequired[EmailCodeProof]
    passkey: NotRequired[PasskeyProof]
    idToken: NotRequired[IdTokenProof]


class PasskeyRegistrationRequest(TypedDict):
    proof: Proof


class PasswordChangeRequest(TypedDict):
    newPassword: Password
    proof: Proof


class EmailChangeRequest(TypedDict):
    newEmail: Email
    proof: Proof


class IdentityRequest(TypedDict):
    provider: IdentityProviderId
    idToken: IdToken
    nonce: IdTokenNonce
    authorizationCode: NotRequired[ProviderCode]
    grant: NotRequired[IdentityGrant]
    proof: Proof


class ProviderOffer(TypedDict):
    provider: IdentityProviderId
    name: str
    hasWebFlow: bool
    clientIds: ProviderClientIds


class DataExport(TypedDict):
    exportedAt: Time
    me: Me
    age: ExportedAge | None
    consents: list[ExportedConsent]
    logins: list[ExportedLogin]
    calls: list[ExportedCall]
    skill: ExportedSkill | None
    pairingRecord: ExportedPairingRecord | None
    ratings: list[ExportedRating]
    reports: list[Report]
    blocks: list[ExportedBlock]
    partnerWishes: list[ExportedPartnerWish]
    appointments: list[ExportedAppointment]
    invitations: list[ExportedInvitation]
    orders: list[Order]
    refunds: list[Refund]
    disputes: list[ExportedDispute]
    enrollments: list[ExportedEnrollment]
    progress: list[LessonProgress]
    notifications: list[Notification]
    pushDevices: list[ExportedPushDevice]
    sanctions: list[Sanction]
    identities: list[ExportedIdentity]
    passkeys: list[Passkey]
    emailChanges: list[ExportedEmailChange]


class AdminStats(TypedDict):
    computedAt: Time
    totals: AdminTotals
    activeToday: int
    newToday: int
    openReports: int
    flaggedUsers: int
    openDisputes: int
    appeals: AdminAppealCounts
    live: AdminLiveCounts
    wait: AdminQueueWait
    hours: list[AdminHour]
    days: list[AdminDay]
    revenue: list[AdminRevenue]


class AdminUserDetail(TypedDict):
    id: UserId
    email: AccountEmail
    username: Username | None
    displayName: DisplayName | None
    avatarUrl: AvatarUrl | None
    role: Role
    isVerified: IsVerified
    isBanned: bool
    suspendedUntil: NullableTime | None
    flaggedAt: NullableTime | None
    totalPracticeMinutes: TotalPracticeMinutes
    totalCalls: TotalCalls
    lastActiveAt: NullableTime | None
    createdAt: Time
    bio: Bio | None
    nativeLanguage: NativeLanguage | None
    englishLevel: Level | None
    learningGoal: LearningGoal | None
    country: Country | None
    timezone: Timezone | None
    streakDays: StreakDays
    lastCallAt: NullableTime | None
    banReason: str | None
    bannedAt: NullableTime | None
    bannedBy: str | None
    deletedAt: NullableTime | None
    calls: list[Call]
    reportsAbout: list[AdminReport]
    reportsBy: list[AdminReport]
    orders: list[AdminOrder]
    bans: list[AuditEntry]


class DeleteMeRequest(TypedDict):
    password: NotRequired[PresentPassword]
    proof: NotRequired[Proof]


class LoginMethods(TypedDict):
    password: bool
    emailCode: bool
    passkeys: PasskeyOffer
    providers: list[ProviderOffer]
