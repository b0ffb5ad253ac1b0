// Generated from openapi.yaml by `make types`; edit the spec, not this file.

export interface paths {
    "/health": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /**
         * Check that the process runs
         * @description Uses no other service; for load balancers and container health checks.
         */
        get: operations["checkHealth"];
        put?: never;
        post?: never;
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/ready": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /** Check each service this process depends on */
        get: operations["checkReadiness"];
        put?: never;
        post?: never;
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/metrics": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /**
         * Read metrics
         * @description For Prometheus, of all web processes of the host that answers. Not public: a request through a proxy
         *     (`X-Forwarded-For`) is answered with 404.
         */
        get: operations["getMetrics"];
        put?: never;
        post?: never;
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/.well-known/jwks.json": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /**
         * Publish the keys that verify access tokens
         * @description JSON Web Key Set (RFC 7517). Cache it; fetch it again when a token names an unknown `kid`.
         */
        get: operations["getJwks"];
        put?: never;
        post?: never;
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/auth/register": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        get?: never;
        put?: never;
        /**
         * Create an account and log in
         * @description For `web` the refresh token travels only in an HttpOnly cookie, over https `__Host-refresh_token`.
         */
        post: operations["register"];
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/auth/login": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        get?: never;
        put?: never;
        /**
         * Log in on a device
         * @description An unknown address and a wrong password get the same response. `account_banned` requires the correct password.
         *     A device has one login of an account: an earlier one with the same `deviceId` is revoked, its push token stays.
         */
        post: operations["login"];
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/auth/refresh": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        get?: never;
        put?: never;
        /**
         * Exchange a refresh token for new tokens
         * @description A refresh token works once. Because a response may be lost or late, the same token sent again within a minute
         *     gets the same response, until the token of that response is exchanged. Any other use of a used token revokes the
         *     login (`refresh_token_reused`). Browsers send the cookie and no body; their `Origin` must be allowed.
         */
        post: operations["refreshTokens"];
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/auth/logout": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        get?: never;
        put?: never;
        /** Log this device out */
        post: operations["logout"];
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/auth/logout-all": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        get?: never;
        put?: never;
        /** Log all devices out */
        post: operations["logoutAll"];
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/auth/forgot-password": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        get?: never;
        put?: never;
        /**
         * Request an e-mail to reset the password
         * @description The response is the same whether or not the address has an account.
         */
        post: operations["requestPasswordReset"];
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/auth/reset-password": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        get?: never;
        put?: never;
        /**
         * Reset the password with the token of the e-mail
         * @description All devices are logged out.
         */
        post: operations["resetPassword"];
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/auth/verify-email": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        get?: never;
        put?: never;
        /** Verify the address with the token of the e-mail */
        post: operations["verifyEmail"];
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/auth/resend-verification": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        get?: never;
        put?: never;
        /** Request another e-mail that verifies the address */
        post: operations["resendVerification"];
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/auth/devices": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /** List the devices that are logged in, last used first */
        get: operations["listDevices"];
        put?: never;
        post?: never;
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/auth/devices/{deviceId}": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        get?: never;
        put?: never;
        post?: never;
        /** Log one device out */
        delete: operations["logoutDevice"];
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/users/me": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /** Read the user's own profile */
        get: operations["getMe"];
        put?: never;
        post?: never;
        /**
         * Delete the user's account
         * @description Personal data, picture, tokens and devices are deleted; calls and orders are kept without identity. An
         *     administrator has to be demoted first.
         */
        delete: operations["deleteMe"];
        options?: never;
        head?: never;
        /**
         * Change the user's own profile
         * @description Fields that are absent keep their value; `null` clears a field.
         */
        patch: operations["updateMe"];
        trace?: never;
    };
    "/users/me/export": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /** Download the user's data */
        get: operations["exportMe"];
        put?: never;
        post?: never;
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/users/me/avatar": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        get?: never;
        put?: never;
        /**
         * Upload the user's picture
         * @description JPEG, PNG or WebP by its bytes, 25 megapixels at most; it becomes a square of 400 pixels without metadata.
         */
        post: operations["uploadAvatar"];
        /** Delete the user's picture */
        delete: operations["deleteAvatar"];
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/users/me/blocks": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /** List blocked learners, newest first */
        get: operations["listBlocks"];
        put?: never;
        post?: never;
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/users/{userId}/public": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /** Read another learner's public profile */
        get: operations["getUser"];
        put?: never;
        post?: never;
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/users/{userId}/block": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        get?: never;
        /** Block a learner */
        put: operations["blockUser"];
        post?: never;
        /** Unblock a learner */
        delete: operations["unblockUser"];
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/sessions": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /** List the user's calls, newest first */
        get: operations["listCalls"];
        put?: never;
        post?: never;
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/sessions/{sessionId}": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /** Read one of the user's calls */
        get: operations["getCall"];
        put?: never;
        post?: never;
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/sessions/{sessionId}/rate": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        get?: never;
        put?: never;
        /** Rate the partner after a call */
        post: operations["rateCall"];
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/reports": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        get?: never;
        put?: never;
        /** Report the partner of a call */
        post: operations["createReport"];
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/reports/mine": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /** List the user's reports, newest first */
        get: operations["listReports"];
        put?: never;
        post?: never;
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/payments/create-checkout-session": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        get?: never;
        put?: never;
        /**
         * Buy a course
         * @description Price and currency are the course's. Open `url` in a browser; the learner is enrolled by the provider's webhook,
         *     not when the browser returns. While an order is pending, buying again returns the same order;
         *     while its payment is processing, 409 `payment_pending`. A failed payment releases the course at once.
         */
        post: operations["createCheckoutSession"];
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/payments/orders": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /** List the user's orders, newest first */
        get: operations["listOrders"];
        put?: never;
        post?: never;
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/payments/orders/{orderId}": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /** Read one of the user's orders */
        get: operations["getOrder"];
        put?: never;
        post?: never;
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/payments/webhook": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        get?: never;
        put?: never;
        /**
         * Receive a payment provider's webhook
         * @description For Stripe (`Stripe-Signature`) and Razorpay (`X-Razorpay-Signature`, `X-Razorpay-Event-Id`), which sign the bytes
         *     of the body; it is the provider's own JSON, 1 MiB at most. 200 means that the event is acknowledged: it is
         *     stored and will be processed, or is of an unknown kind. An invalid signature and a body
         *     that is not an event are answered with 400.
         */
        post: operations["receivePaymentWebhook"];
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/notifications": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /**
         * List the user's notifications, newest first
         * @description Connected sockets receive each as the event `notification` too.
         */
        get: operations["listNotifications"];
        put?: never;
        post?: never;
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/notifications/device": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        get?: never;
        put?: never;
        /**
         * Register a device for push notifications
         * @description Send the device's FCM registration token at each start of the app, because tokens change. A token belongs to the
         *     last account that registered it. Logout deletes it.
         */
        post: operations["registerPushDevice"];
        /** Unregister a device from push notifications */
        delete: operations["unregisterPushDevice"];
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/notifications/read-all": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        get?: never;
        put?: never;
        post?: never;
        delete?: never;
        options?: never;
        head?: never;
        /** Mark all notifications as read */
        patch: operations["markAllNotificationsRead"];
        trace?: never;
    };
    "/notifications/{notificationId}/read": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        get?: never;
        put?: never;
        post?: never;
        delete?: never;
        options?: never;
        head?: never;
        /**
         * Mark a notification as read
         * @description Idempotent.
         */
        patch: operations["markNotificationRead"];
        trace?: never;
    };
    "/admin/stats": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /**
         * Read the dashboard's statistics
         * @description Computed every few seconds for all readers; `computedAt` is the time. Days and hours are UTC. While
         *     Redis is unavailable, `live.searches` is null.
         */
        get: operations["getAdminStats"];
        put?: never;
        post?: never;
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/admin/users": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /**
         * List accounts, newest first
         * @description Deleted accounts are left out; `GET /admin/users/{userId}` still returns them.
         */
        get: operations["listAdminUsers"];
        put?: never;
        post?: never;
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/admin/users/{userId}": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /**
         * Read an account and its recent activity
         * @description The newest ten calls, reports and orders each, and all bans of the audit log.
         */
        get: operations["getAdminUser"];
        put?: never;
        post?: never;
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/admin/reports": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /** List reports, newest first */
        get: operations["listAdminReports"];
        put?: never;
        post?: never;
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/admin/reports/{reportId}": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        get?: never;
        put?: never;
        post?: never;
        delete?: never;
        options?: never;
        head?: never;
        /**
         * Review a report
         * @description With `ban` the reported learner is banned too, for the note or else the report's reason, and the report is `actioned`.
         */
        patch: operations["reviewReport"];
        trace?: never;
    };
    "/admin/users/{userId}/ban": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        get?: never;
        put?: never;
        post?: never;
        delete?: never;
        options?: never;
        head?: never;
        /**
         * Ban an account
         * @description Within a second its logins are revoked, its sockets closed, its search and room left.
         */
        patch: operations["banUser"];
        trace?: never;
    };
    "/admin/users/{userId}/unban": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        get?: never;
        put?: never;
        post?: never;
        delete?: never;
        options?: never;
        head?: never;
        /** Unban an account */
        patch: operations["unbanUser"];
        trace?: never;
    };
    "/admin/orders": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /** List orders, newest first */
        get: operations["listAdminOrders"];
        put?: never;
        post?: never;
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/admin/orders/{orderId}/refund": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        get?: never;
        put?: never;
        /**
         * Refund a payment, or part of it
         * @description One refund of an order at a time, and never more than was paid. `pending` means that the provider has not confirmed
         *     it yet; the order changes when it does. A full refund ends the enrollment. A payment with an inquiry
         *     can be refunded if the provider allows it; a disputed one cannot.
         */
        post: operations["refundOrder"];
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/admin/audit": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /** List the audit log, newest first */
        get: operations["listAuditEntries"];
        put?: never;
        post?: never;
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/courses": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /**
         * List courses, newest first
         * @description Published courses, without a token too. Administrators also see the others. An
         *     unpublished course is in `GET /my/courses` of its enrolled learners.
         */
        get: operations["listCourses"];
        put?: never;
        /** Create a course */
        post: operations["createCourse"];
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/courses/{courseId}": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /**
         * Read a course
         * @description An unpublished course is visible to enrolled learners and administrators; else 404.
         */
        get: operations["getCourse"];
        put?: never;
        post?: never;
        /** Delete a course without enrollments and orders */
        delete: operations["deleteCourse"];
        options?: never;
        head?: never;
        /**
         * Change or publish a course
         * @description Orders keep their price. Unpublishing ends sales: no new orders or enrollments. Enrolled learners keep
         *     the course, and a checkout page that is open already still enrolls its learner when it is paid.
         */
        patch: operations["updateCourse"];
        trace?: never;
    };
    "/courses/{courseId}/thumbnail": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        get?: never;
        /**
         * Upload a course's picture
         * @description JPEG, PNG or WebP by its bytes, 25 megapixels at most; it becomes 1280 by 720 pixels without metadata.
         */
        put: operations["uploadThumbnail"];
        post?: never;
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/courses/{courseId}/lessons": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /**
         * List a course's lessons in their order
         * @description Titles and descriptions are public like the course; videos and files need enrollment, or a free lesson.
         */
        get: operations["listLessons"];
        put?: never;
        /** Add a lesson at the end of a course */
        post: operations["createLesson"];
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/courses/{courseId}/lessons/order": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        get?: never;
        /**
         * Reorder a course's lessons
         * @description Name every lesson once; if the course has other lessons meanwhile, nothing changes (`lessons_differ`).
         */
        put: operations["reorderLessons"];
        post?: never;
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/courses/{courseId}/enroll": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        get?: never;
        put?: never;
        /**
         * Enroll in a free course, or buy another
         * @description For a course with a price like `POST /payments/create-checkout-session`.
         */
        post: operations["enroll"];
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/lessons/{lessonId}": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /** Read a lesson */
        get: operations["getLesson"];
        put?: never;
        post?: never;
        /** Delete a lesson */
        delete: operations["deleteLesson"];
        options?: never;
        head?: never;
        /** Change a lesson */
        patch: operations["updateLesson"];
        trace?: never;
    };
    "/lessons/{lessonId}/progress": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        get?: never;
        /**
         * Save the position in a lesson
         * @description The position never decreases: the furthest of several devices counts. Needs enrollment, or a free lesson.
         */
        put: operations["setLessonProgress"];
        post?: never;
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/lessons/{lessonId}/complete": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        get?: never;
        put?: never;
        /**
         * Complete a lesson
         * @description Needs enrollment, or a free lesson.
         */
        post: operations["completeLesson"];
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/lessons/{lessonId}/attachments": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /**
         * List the files of a lesson
         * @description Needs enrollment, or a free lesson.
         */
        get: operations["listAttachments"];
        put?: never;
        /** Add a file to a lesson */
        post: operations["uploadAttachment"];
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/lessons/{lessonId}/attachments/{attachmentId}": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        get?: never;
        put?: never;
        post?: never;
        /** Remove a file from a lesson */
        delete: operations["deleteAttachment"];
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/lessons/{lessonId}/video": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        get?: never;
        /**
         * Upload a lesson's video
         * @description MP4, QuickTime, Matroska, WebM or AVI by its bytes, streamed; an interrupted upload is discarded. An
         *     earlier video plays until this one is ready. Use resumable uploads for large files (`/video/uploads`).
         */
        put: operations["uploadVideo"];
        post?: never;
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/lessons/{lessonId}/video/uploads": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        get?: never;
        put?: never;
        /**
         * Create a resumable upload
         * @description The creation of [tus 1.0](https://tus.io/protocols/resumable-upload), for any of its clients. `Upload-Concat`,
         *     `Upload-Defer-Length`, `Upload-Checksum` and a body belong to unsupported extensions: they are refused
         *     (`request_invalid`), so only a whole file becomes a video. On all upload paths every response has
         *     `Tus-Resumable`, and `X-HTTP-Method-Override` replaces the method of the request.
         */
        post: operations["createUpload"];
        delete?: never;
        /**
         * Read the server's tus capabilities
         * @description Needs no token. A request with `Access-Control-Request-Method` is a CORS preflight and answered as one.
         */
        options: operations["describeUploads"];
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/lessons/{lessonId}/video/uploads/{uploadId}": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        get?: never;
        put?: never;
        post?: never;
        /** Cancel an upload */
        delete: operations["deleteUpload"];
        /**
         * Read the server's tus capabilities at an upload
         * @description As at `/lessons/{lessonId}/video/uploads`.
         */
        options: operations["describeUpload"];
        /** Read an upload's offset */
        head: operations["getUpload"];
        /**
         * Append to an upload
         * @description `Upload-Offset` must be the stored offset; otherwise (`upload_offset_differs`) send HEAD to read it. The received
         *     bytes of an interrupted body are stored. A client without PATCH sends POST with `X-HTTP-Method-Override: PATCH`.
         */
        patch: operations["continueUpload"];
        trace?: never;
    };
    "/lessons/{lessonId}/video-url": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /**
         * Get a link to play a lesson's video
         * @description Needs enrollment, or a free lesson (`not_enrolled`). `video_not_ready` until a video is ready.
         */
        get: operations["getVideoUrl"];
        put?: never;
        post?: never;
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/lessons/{lessonId}/playback/{name}": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /**
         * Read a playlist of a lesson's video
         * @description For players, by the link of `video-url`, whose token replaces the access token, because players send no headers.
         *     Segments are read from storage by signed addresses that expire. Each request checks enrollment and login.
         */
        get: operations["getPlaylist"];
        put?: never;
        post?: never;
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/my/courses": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /** List the user's courses, latest enrollment first */
        get: operations["listMyCourses"];
        put?: never;
        post?: never;
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/my/progress/{courseId}": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /** Read the user's progress in a course */
        get: operations["getMyProgress"];
        put?: never;
        post?: never;
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
}
export type webhooks = Record<string, never>;
export interface components {
    schemas: {
        /** @example 7f8de2c4-6c0b-4b58-9a83-0a1c4c6ad1f0 */
        Id: string;
        NullableId: string | null;
        /**
         * Format: date-time
         * @description RFC 3339, UTC.
         * @example 2026-03-14T09:26:53.589Z
         */
        Time: string;
        /**
         * Format: date-time
         * @description RFC 3339, UTC; null if it has not happened.
         */
        NullableTime: string | null;
        /** @description Stable across releases; new codes may be added. Known values: `request_invalid`, `unauthenticated`, `forbidden`, `not_found`, `method_not_allowed`, `not_acceptable`, `request_timeout`, `payload_too_large`, `uri_too_long`, `unsupported_media_type`, `headers_too_large`, `rate_limited`, `internal`, `unavailable`, `email_taken`, `invalid_credentials`, `account_banned`, `refresh_token_invalid`, `refresh_token_reused`, `token_invalid`, `password_too_common`, `last_admin`, `username_taken`, `already_rated`, `call_not_ended`, `already_reported`, `course_is_free`, `already_enrolled`, `payment_pending`, `signature_invalid`, `payment_refused`, `order_not_refundable`, `refund_pending`, `refund_too_large`, `not_enrolled`, `course_in_use`, `slug_taken`, `lessons_differ`, `video_not_ready`, `upload_offset_differs`, `upload_version_unsupported`, `idempotency_key_reused`, `idempotency_in_flight`. */
        ErrorCode: string;
        Problem: {
            /**
             * @description A URI of the problem type.
             * @example urn:parlance:problem:email_taken
             */
            type: string;
            /** @description The problem type, the same for every occurrence. */
            title: string;
            status: number;
            /** @description This occurrence. */
            detail: string;
            code: components["schemas"]["ErrorCode"];
        };
        Health: {
            /** @enum {string} */
            status: "ok";
            timestamp: components["schemas"]["Time"];
        };
        Readiness: {
            /** @enum {string} */
            status: "ok";
            checks: components["schemas"]["ReadinessChecks"];
        };
        /** @description One entry for each dependency. */
        ReadinessChecks: {
            database: components["schemas"]["Check"];
            redis: components["schemas"]["Check"];
            storage: components["schemas"]["Check"];
        };
        Check: {
            isAvailable: boolean;
            milliseconds: number;
        };
        JsonWebKeySet: {
            keys: components["schemas"]["JsonWebKey"][];
        };
        JsonWebKey: {
            /** @description Known values: `RSA`. */
            kty: string;
            /** @description Known values: `sig`. */
            use: string;
            /** @description Known values: `RS256`. */
            alg: string;
            kid: string;
            n: string;
            e: string;
        };
        /** @description Known values: `student`, `admin`. */
        Role: string;
        /** @enum {string} */
        RoleInput: "student" | "admin";
        /** @description Known values: `ios`, `android`, `web`. */
        Platform: string;
        /** @enum {string} */
        PlatformInput: "ios" | "android" | "web";
        /**
         * Format: email
         * @description Compared without regard to case, Unicode form (NFC, full-width, ß and ss) and the spelling of an international
         *     domain. Refused with `request_invalid` are addresses that mail programs interpret differently: specials (`,` `<` `(`),
         *     quoted local parts, encoded words, invisible characters, addresses of numbers.
         * @example ada@example.com
         */
        Email: string;
        /**
         * Format: password
         * @description 8 characters at least, 72 bytes of UTF-8 at most, counted after RFC 8265 (OpaqueString: NFC, every space an ASCII
         *     one), so that every keyboard yields the same password. A new password has no control characters and is not one of the
         *     10,000 most common (`password_too_common`).
         * @example correct horse
         */
        Password: string;
        /**
         * @description Generated by the app once per installation.
         * @example pixel-9
         */
        DeviceId: string;
        /** @description The `token` of the link in an e-mail. */
        EmailToken: string;
        RegisterRequest: {
            email: components["schemas"]["Email"];
            password: components["schemas"]["Password"];
            deviceId: components["schemas"]["DeviceId"];
            platform: components["schemas"]["PlatformInput"];
        };
        LoginRequest: {
            email: components["schemas"]["Email"];
            password: components["schemas"]["Password"];
            deviceId: components["schemas"]["DeviceId"];
            platform: components["schemas"]["PlatformInput"];
            /**
             * @description The newest `deviceProof` of this device. With it the device's wrong passwords are counted separately.
             *     An expired one, or one of another account or device, is ignored.
             */
            deviceProof?: string;
        };
        RefreshRequest: {
            refreshToken?: string;
        };
        ForgotPasswordRequest: {
            email: components["schemas"]["Email"];
        };
        ResetPasswordRequest: {
            token: components["schemas"]["EmailToken"];
            newPassword: components["schemas"]["Password"];
        };
        VerifyEmailRequest: {
            token: components["schemas"]["EmailToken"];
        };
        DeviceList: {
            items: components["schemas"]["Device"][];
        };
        Device: {
            deviceId: components["schemas"]["DeviceId"];
            platform: components["schemas"]["Platform"];
            loggedInAt: components["schemas"]["Time"];
            lastUsedAt: components["schemas"]["Time"];
            /** @description Whether it is the device of this request. */
            isCurrent: boolean;
        };
        AuthTokens: {
            /** @description JWT, RS256; verify it with the JWKS. */
            accessToken: string;
            /** @enum {string} */
            tokenType: "Bearer";
            /** @description Seconds until the access token expires. */
            expiresInSeconds: number;
            /** @description Shown once; absent for `web`, which gets a cookie. */
            refreshToken?: string;
            /**
             * @description Proof that this device has logged in to this account. Keep it after logout and send it with the next
             *     login: wrong passwords from other devices then cannot lock this device out. It grants no access by itself.
             */
            deviceProof?: string;
            user: components["schemas"]["Account"];
        };
        Account: {
            id: components["schemas"]["Id"];
            email: string;
            role: components["schemas"]["Role"];
            isVerified: boolean;
        };
        /** @description A level of English. Known values: `beginner`, `intermediate`, `advanced`. */
        Level: string;
        /**
         * @description A level of English.
         * @enum {string}
         */
        LevelInput: "beginner" | "intermediate" | "advanced";
        /** @description What a learner practises for. Known values: `fluency`, `business`, `travel`, `exam`. */
        LearningGoal: string;
        /**
         * @description What a learner practises for.
         * @enum {string}
         */
        LearningGoalInput: "fluency" | "business" | "travel" | "exam";
        Me: {
            id: components["schemas"]["Id"];
            email: string;
            role: components["schemas"]["Role"];
            isVerified: boolean;
            username: string | null;
            displayName: string | null;
            avatarUrl: string | null;
            bio: string | null;
            nativeLanguage: string | null;
            englishLevel: components["schemas"]["Level"] | null;
            learningGoal: components["schemas"]["LearningGoal"] | null;
            country: string | null;
            timezone: string | null;
            totalPracticeMinutes: number;
            totalCalls: number;
            streakDays: number;
            lastCallAt: components["schemas"]["NullableTime"];
            lastActiveAt: components["schemas"]["NullableTime"];
            createdAt: components["schemas"]["Time"];
        };
        /**
         * @description One line, see `x-text`.
         * @example Ada
         */
        DisplayName: string | null;
        /** @description Several lines, see `x-text`. */
        Bio: string | null;
        MeUpdate: {
            /**
             * @description Unique, case-insensitive; required before the first call.
             * @example ada_lovelace
             */
            username?: string;
            displayName?: components["schemas"]["DisplayName"];
            bio?: components["schemas"]["Bio"];
            /**
             * @description BCP 47 language tag.
             * @example pt-BR
             */
            nativeLanguage?: string | null;
            englishLevel?: components["schemas"]["LevelInput"] | null;
            learningGoal?: components["schemas"]["LearningGoalInput"] | null;
            /**
             * @description ISO 3166-1 alpha-2.
             * @example BR
             */
            country?: string | null;
            /**
             * @description IANA time zone of the days of a streak.
             * @example America/Sao_Paulo
             */
            timezone?: string | null;
        };
        DeleteMeRequest: {
            /** Format: password */
            password: string;
        };
        AvatarUpload: {
            /** Format: binary */
            file: string;
        };
        Avatar: {
            avatarUrl: string;
        };
        PublicProfile: {
            id: components["schemas"]["Id"];
            username: string | null;
            displayName: string | null;
            avatarUrl: string | null;
            bio: string | null;
            nativeLanguage: string | null;
            englishLevel: components["schemas"]["Level"] | null;
            learningGoal: components["schemas"]["LearningGoal"] | null;
            country: string | null;
            totalPracticeMinutes: number;
            totalCalls: number;
            streakDays: number;
        };
        Block: {
            userId: components["schemas"]["Id"];
            username: string | null;
            displayName: string | null;
            avatarUrl: string | null;
            blockedAt: components["schemas"]["Time"];
        };
        BlockPage: {
            items: components["schemas"]["Block"][];
            nextCursor: string | null;
        };
        /** @description All data of one person. Other people appear by id only. */
        DataExport: {
            exportedAt: components["schemas"]["Time"];
            me: components["schemas"]["Me"];
            logins: components["schemas"]["ExportedLogin"][];
            calls: components["schemas"]["ExportedCall"][];
            ratings: components["schemas"]["ExportedRating"][];
            reports: components["schemas"]["Report"][];
            blocks: components["schemas"]["ExportedBlock"][];
            orders: components["schemas"]["Order"][];
            refunds: components["schemas"]["Refund"][];
            disputes: components["schemas"]["ExportedDispute"][];
            enrollments: components["schemas"]["ExportedEnrollment"][];
            progress: components["schemas"]["LessonProgress"][];
            notifications: components["schemas"]["Notification"][];
            pushDevices: components["schemas"]["ExportedPushDevice"][];
        };
        /** @description A claim against the payment of an order. */
        ExportedDispute: {
            id: components["schemas"]["Id"];
            orderId: components["schemas"]["Id"];
            amount: components["schemas"]["Money"];
            currency: components["schemas"]["Currency"];
            status: components["schemas"]["DisputeStatus"];
            /** @description The bank's reason. */
            reason: string | null;
            createdAt: components["schemas"]["Time"];
        };
        /** @description The state of a dispute; `won` is in favour of the platform. Known values: `open`, `won`, `lost`. */
        DisputeStatus: string;
        ExportedLogin: {
            deviceId: string;
            platform: components["schemas"]["Platform"];
            createdAt: components["schemas"]["Time"];
            expiresAt: components["schemas"]["Time"];
            revokedAt: components["schemas"]["NullableTime"];
        };
        ExportedCall: {
            id: components["schemas"]["Id"];
            partnerId: components["schemas"]["Id"];
            topic: string | null;
            level: components["schemas"]["CallLevel"];
            startedAt: components["schemas"]["Time"];
            connectedAt: components["schemas"]["NullableTime"];
            endedAt: components["schemas"]["NullableTime"];
            durationSeconds: number | null;
        };
        ExportedRating: {
            sessionId: components["schemas"]["Id"];
            ratedId: components["schemas"]["Id"];
            stars: number;
            createdAt: components["schemas"]["Time"];
        };
        ExportedBlock: {
            userId: components["schemas"]["Id"];
            blockedAt: components["schemas"]["Time"];
        };
        Rating: {
            stars: number;
        };
        /** @description Known values: `harassment`, `spam`, `inappropriate`, `hate_speech`, `other`. */
        ReportReason: string;
        /** @enum {string} */
        ReportReasonInput: "harassment" | "spam" | "inappropriate" | "hate_speech" | "other";
        /** @description Known values: `pending`, `reviewed`, `actioned`, `dismissed`. */
        ReportStatus: string;
        /** @enum {string} */
        ReportStatusInput: "pending" | "reviewed" | "actioned" | "dismissed";
        /** @description Several lines, see `x-text`. */
        Comment: string;
        ReportRequest: {
            reportedId: components["schemas"]["Id"];
            sessionId?: components["schemas"]["Id"];
            reason: components["schemas"]["ReportReasonInput"];
            description?: components["schemas"]["Comment"];
        };
        Report: {
            id: components["schemas"]["Id"];
            reportedId: components["schemas"]["Id"];
            sessionId: components["schemas"]["NullableId"];
            reason: components["schemas"]["ReportReason"];
            description: string | null;
            status: components["schemas"]["ReportStatus"];
            createdAt: components["schemas"]["Time"];
        };
        ReportPage: {
            items: components["schemas"]["Report"][];
            nextCursor: string | null;
        };
        AdminReport: {
            id: components["schemas"]["Id"];
            reporterId: components["schemas"]["Id"];
            reportedId: components["schemas"]["Id"];
            sessionId: components["schemas"]["NullableId"];
            reason: components["schemas"]["ReportReason"];
            description: string | null;
            status: components["schemas"]["ReportStatus"];
            adminNote: string | null;
            actionedAt: components["schemas"]["NullableTime"];
            createdAt: components["schemas"]["Time"];
        };
        AdminReportPage: {
            items: components["schemas"]["AdminReport"][];
            nextCursor: string | null;
        };
        ReportReview: {
            status?: components["schemas"]["ReportStatusInput"];
            adminNote?: components["schemas"]["Comment"];
            /** @description Ban the reported learner. */
            ban?: boolean;
        };
        /** @description Several lines, see `x-text`. */
        BanReason: string;
        BanRequest: {
            reason: components["schemas"]["BanReason"];
        };
        /** @example ada */
        Search: string;
        ApproximateCount: {
            count: number;
            /** @description Exact; else an estimate of the database. */
            isExact: boolean;
        };
        AdminStats: {
            computedAt: components["schemas"]["Time"];
            totals: components["schemas"]["AdminTotals"];
            /** @description Accounts with a login or refresh since midnight. */
            activeToday: number;
            /** @description Accounts created since midnight. */
            newToday: number;
            /** @description Pending reports. */
            openReports: number;
            /** @description Accounts reported by three different learners. */
            flaggedUsers: number;
            openDisputes: number;
            live: components["schemas"]["AdminLiveCounts"];
            wait: components["schemas"]["AdminQueueWait"];
            /** @description The last 24 hours, the current one last. */
            hours: components["schemas"]["AdminHour"][];
            /** @description The last 30 days, today last. */
            days: components["schemas"]["AdminDay"][];
            /** @description Of the last 30 days, by currency. */
            revenue: components["schemas"]["AdminRevenue"][];
        };
        /** @description Totals of all time, including deleted accounts and matches without a call. */
        AdminTotals: {
            users: components["schemas"]["ApproximateCount"];
            calls: components["schemas"]["ApproximateCount"];
            courses: components["schemas"]["ApproximateCount"];
            orders: components["schemas"]["ApproximateCount"];
        };
        /** @description What happens now. */
        AdminLiveCounts: {
            /** @description Learners in the queue; null while Redis is unavailable. */
            searches: number | null;
            /** @description Matches that have not ended. */
            rooms: number;
            /** @description Rooms that both have joined. */
            calls: number;
        };
        /** @description Waits of the learner in the queue, over the matches of the last 60 minutes. */
        AdminQueueWait: {
            /** @description Null if there was no match. */
            medianSeconds: number | null;
            /** @description The number of waits. */
            matches: number;
        };
        AdminHour: {
            since: components["schemas"]["Time"];
            matches: number;
        };
        AdminDay: {
            /** @example 2026-03-14 */
            day: string;
            matches: number;
            /** @description Matches that both have joined. */
            calls: number;
            /** @description Total length of the ended ones, rounded down. */
            minutes: number;
        };
        AdminRevenue: {
            currency: components["schemas"]["Currency"];
            /** @description Real money; false for a provider's test mode. */
            isLive: boolean;
            /** @description Paid orders. */
            orders: number;
            amount: components["schemas"]["Money"];
            /** @description Successful refunds of any order. */
            refunds: number;
            amountRefunded: components["schemas"]["Money"];
        };
        AdminUser: {
            id: components["schemas"]["Id"];
            email: string;
            username: string | null;
            displayName: string | null;
            avatarUrl: string | null;
            role: components["schemas"]["Role"];
            isVerified: boolean;
            isBanned: boolean;
            flaggedAt: components["schemas"]["NullableTime"];
            totalPracticeMinutes: number;
            totalCalls: number;
            lastActiveAt: components["schemas"]["NullableTime"];
            createdAt: components["schemas"]["Time"];
        };
        AdminUserPage: {
            items: components["schemas"]["AdminUser"][];
            nextCursor: string | null;
        };
        /** @description A deleted account has no personal data. */
        AdminUserDetail: {
            id: components["schemas"]["Id"];
            email: string;
            username: string | null;
            displayName: string | null;
            avatarUrl: string | null;
            role: components["schemas"]["Role"];
            isVerified: boolean;
            isBanned: boolean;
            flaggedAt: components["schemas"]["NullableTime"];
            totalPracticeMinutes: number;
            totalCalls: number;
            lastActiveAt: components["schemas"]["NullableTime"];
            createdAt: components["schemas"]["Time"];
            bio: string | null;
            nativeLanguage: string | null;
            englishLevel: components["schemas"]["Level"] | null;
            learningGoal: components["schemas"]["LearningGoal"] | null;
            country: string | null;
            timezone: string | null;
            streakDays: number;
            lastCallAt: components["schemas"]["NullableTime"];
            banReason: string | null;
            bannedAt: components["schemas"]["NullableTime"];
            bannedBy: components["schemas"]["NullableId"];
            deletedAt: components["schemas"]["NullableTime"];
            /** @description `endedBy` and `myRating` are those of this account. */
            calls: components["schemas"]["Call"][];
            reportsAbout: components["schemas"]["AdminReport"][];
            reportsBy: components["schemas"]["AdminReport"][];
            orders: components["schemas"]["AdminOrder"][];
            /** @description Bans and unbans, newest first. */
            bans: components["schemas"]["AuditEntry"][];
        };
        /** @example user.ban */
        AuditAction: string;
        AuditEntry: {
            /** @description Without gaps. */
            number: number;
            createdAt: components["schemas"]["Time"];
            /** @description Null for an operator at the command line. */
            actorId: string | null;
            action: components["schemas"]["AuditAction"];
            targetId: components["schemas"]["NullableId"];
            /** @description Details of the action, without personal data. */
            details: {
                [key: string]: unknown;
            };
            /** @description Hash of this entry and all before it. */
            hash: string;
        };
        AuditEntryPage: {
            items: components["schemas"]["AuditEntry"][];
            nextCursor: string | null;
        };
        /** @description The level of a conversation. Known values: `all`, `beginner`, `intermediate`, `advanced`. */
        CallLevel: string;
        /** @description The partner as the learner sees them. */
        Partner: {
            userId: components["schemas"]["Id"];
            displayName: string;
            avatarUrl: string | null;
            level: components["schemas"]["Level"] | null;
        };
        Call: {
            id: components["schemas"]["Id"];
            roomId: components["schemas"]["Id"];
            partner: components["schemas"]["Partner"];
            topic: string | null;
            level: components["schemas"]["CallLevel"];
            startedAt: components["schemas"]["Time"];
            connectedAt: components["schemas"]["NullableTime"];
            endedAt: components["schemas"]["NullableTime"];
            /** @description From `connectedAt` to `endedAt`. */
            durationSeconds: number | null;
            /** @description Who or what ended the call, from the reader's point of view; null while it lasts. */
            endedBy: components["schemas"]["CallEnd"] | null;
            /** @description The reader's rating of the partner. */
            myRating: number | null;
        };
        /** @description Who or what ended a call, from the reader's point of view. Known values: `me`, `partner`, `timeout`, `error`. */
        CallEnd: string;
        CallPage: {
            items: components["schemas"]["Call"][];
            nextCursor: string | null;
        };
        /**
         * @description In the smallest unit of the currency.
         * @example 49900
         */
        Money: number;
        /**
         * @description ISO 4217, lower case.
         * @example inr
         */
        Currency: string;
        CheckoutRequest: {
            courseId: components["schemas"]["Id"];
        };
        Checkout: {
            orderId: components["schemas"]["Id"];
            /** @description The provider's page. */
            url: string;
        };
        /**
         * @description New values may be added. `processing`: the learner has paid by a method that takes days; `paid` or
         *     `failed` follows.
         *      Known values: `pending`, `processing`, `paid`, `failed`, `expired`, `refunded`.
         */
        OrderStatus: string;
        /**
         * @description New values may be added. `processing`: the learner has paid by a method that takes days; `paid` or
         *     `failed` follows.
         * @enum {string}
         */
        OrderStatusInput: "pending" | "processing" | "paid" | "failed" | "expired" | "refunded";
        /** @description Known values: `stripe`, `razorpay`. */
        PaymentProvider: string;
        /** @enum {string} */
        PaymentProviderInput: "stripe" | "razorpay";
        Order: {
            id: components["schemas"]["Id"];
            /** @example PL-7KQ2M9XW4TBD */
            receiptId: string;
            courseId: components["schemas"]["Id"];
            /** @description The course's title at the time of the order. */
            courseTitle: string;
            amount: components["schemas"]["Money"];
            amountRefunded: components["schemas"]["Money"];
            currency: components["schemas"]["Currency"];
            status: components["schemas"]["OrderStatus"];
            provider: components["schemas"]["PaymentProvider"];
            /** @description Whether a dispute is open or lost. */
            isDisputed: boolean;
            paidAt: components["schemas"]["NullableTime"];
            createdAt: components["schemas"]["Time"];
        };
        OrderPage: {
            items: components["schemas"]["Order"][];
            nextCursor: string | null;
        };
        PushDevice: {
            /** @description The FCM registration token of the app on this device. */
            fcmToken: string;
            deviceId: components["schemas"]["DeviceId"];
            platform: components["schemas"]["PlatformInput"];
        };
        PushDeviceRef: {
            deviceId: components["schemas"]["DeviceId"];
        };
        /** @description New values may be added. `admin_alert` is for administrators. Known values: `match_found`, `payment_success`, `payment_failed`, `system`, `achievement`, `admin_alert`. */
        NotificationType: string;
        Notification: {
            id: components["schemas"]["Id"];
            type: components["schemas"]["NotificationType"];
            title: string;
            body: string;
            data: components["schemas"]["NotificationData"];
            isRead: boolean;
            createdAt: components["schemas"]["Time"];
            readAt: components["schemas"]["NullableTime"];
        };
        /**
         * @description Target in the app: `roomId` and `sessionId` of a match; `orderId` and `courseId` of a payment; `achievement`
         *     (`streak` or `sessions`) and `reached`; of an alert its `kind`, with `orderId`, `userId`, `reportId`
         *     or `eventId`. A push carries the same, with `type` and `notificationId`.
         * @example {
         *       "achievement": "streak",
         *       "reached": "7"
         *     }
         */
        NotificationData: {
            [key: string]: string;
        } | null;
        NotificationPage: {
            items: components["schemas"]["Notification"][];
            nextCursor: string | null;
            /** @description Of all the user's notifications, not of this page. */
            unreadCount: number;
        };
        UnreadCount: {
            unreadCount: number;
        };
        ExportedPushDevice: {
            deviceId: string;
            platform: components["schemas"]["Platform"];
            updatedAt: components["schemas"]["Time"];
        };
        AdminOrder: {
            id: components["schemas"]["Id"];
            receiptId: string;
            userId: components["schemas"]["Id"];
            courseId: components["schemas"]["Id"];
            /** @description The course's title at the time of the order. */
            courseTitle: string;
            amount: components["schemas"]["Money"];
            amountRefunded: components["schemas"]["Money"];
            currency: components["schemas"]["Currency"];
            status: components["schemas"]["OrderStatus"];
            provider: components["schemas"]["PaymentProvider"];
            /** @description The provider's id of the payment. */
            providerPaymentId: string | null;
            /** @description Whether a dispute is open or lost. */
            isDisputed: boolean;
            /** @description Whether a bank inquires about the payment. No money has moved, and it can be refunded. */
            isUnderInquiry: boolean;
            /** @description Alerts for administrators. New values may be added. */
            alerts: components["schemas"]["OrderAlert"][];
            paidAt: components["schemas"]["NullableTime"];
            createdAt: components["schemas"]["Time"];
        };
        /** @description A fact about an order that an administrator should look at. Known values: `amount_differs`, `currency_differs`, `mode_differs`, `session_differs`, `paid_twice`, `inquiry`, `disputed`, `refund_failed`, `account_deleted`. */
        OrderAlert: string;
        AdminOrderPage: {
            items: components["schemas"]["AdminOrder"][];
            nextCursor: string | null;
        };
        /** @description Several lines, see `x-text`. */
        RefundReason: string;
        RefundRequest: {
            /** @description In the smallest unit of the currency; if absent, the whole remaining amount. */
            amount?: number;
            reason?: components["schemas"]["RefundReason"];
        };
        Refund: {
            id: components["schemas"]["Id"];
            orderId: components["schemas"]["Id"];
            amount: components["schemas"]["Money"];
            currency: components["schemas"]["Currency"];
            status: components["schemas"]["RefundStatus"];
            reason: string | null;
            createdAt: components["schemas"]["Time"];
        };
        /** @description `pending` until the provider confirms or refuses the refund. Known values: `pending`, `succeeded`, `failed`. */
        RefundStatus: string;
        WebhookReceipt: {
            /** @enum {boolean} */
            received: true;
        };
        Course: {
            id: components["schemas"]["Id"];
            title: string;
            /** @example small-talk-that-works */
            slug: string;
            description: string;
            thumbnailUrl: string | null;
            price: components["schemas"]["Money"];
            currency: components["schemas"]["Currency"];
            level: components["schemas"]["Level"];
            isPublished: boolean;
            /** @description Whether the reader is enrolled; `false` without a token. */
            isEnrolled: boolean;
            createdAt: components["schemas"]["Time"];
        };
        CoursePage: {
            items: components["schemas"]["Course"][];
            nextCursor: string | null;
        };
        /** @description `orderId` and `url` are present for a course with a price. */
        EnrollmentResponse: {
            isEnrolled: boolean;
            orderId?: components["schemas"]["Id"];
            /** @description The provider's page. */
            url?: string;
        };
        ExportedEnrollment: {
            courseId: components["schemas"]["Id"];
            orderId: components["schemas"]["NullableId"];
            enrolledAt: components["schemas"]["Time"];
        };
        /**
         * @description One line, see `x-text`.
         * @example Small talk that works
         */
        CourseTitle: string;
        /** @description Several lines, see `x-text`. */
        CourseText: string;
        /**
         * @description The name in addresses; generated from the title if absent.
         * @example small-talk-that-works
         */
        Slug: string;
        /** @description In the smallest unit of the currency; 0 is free. */
        Price: number;
        CourseDraft: {
            title: components["schemas"]["CourseTitle"];
            slug?: components["schemas"]["Slug"];
            description?: components["schemas"]["CourseText"];
            price: components["schemas"]["Price"];
            currency?: components["schemas"]["Currency"];
            level: components["schemas"]["LevelInput"];
            isPublished?: boolean;
        };
        CourseUpdate: {
            title?: components["schemas"]["CourseTitle"];
            slug?: components["schemas"]["Slug"];
            description?: components["schemas"]["CourseText"];
            price?: components["schemas"]["Price"];
            currency?: components["schemas"]["Currency"];
            level?: components["schemas"]["LevelInput"];
            isPublished?: boolean;
        };
        ThumbnailUpload: {
            /** Format: binary */
            file: string;
        };
        Thumbnail: {
            thumbnailUrl: string;
        };
        LessonDraft: {
            title: components["schemas"]["CourseTitle"];
            description?: components["schemas"]["CourseText"];
            /** @description Whether it is a free preview. */
            isFree?: boolean;
        };
        LessonUpdate: {
            title?: components["schemas"]["CourseTitle"];
            description?: components["schemas"]["CourseText"];
            isFree?: boolean;
        };
        LessonOrder: {
            lessonIds: components["schemas"]["Id"][];
        };
        Lesson: {
            id: components["schemas"]["Id"];
            courseId: components["schemas"]["Id"];
            title: string;
            description: string;
            orderIndex: number;
            /** @description Whether it needs no enrollment. */
            isFree: boolean;
            /** @description Whether a video is ready to play. */
            isPlayable: boolean;
            durationSeconds: number | null;
            /** @description State of the last uploaded video; for administrators, else null. */
            videoStatus: components["schemas"]["VideoStatus"] | null;
            /** @description Percent; for administrators. */
            videoProgress: number | null;
            /** @description Reason of the failure; for administrators. */
            videoError: string | null;
            createdAt: components["schemas"]["Time"];
        };
        /** @description The state of a lesson's last uploaded video; `none` before the first upload. Known values: `none`, `processing`, `ready`, `failed`. */
        VideoStatus: string;
        LessonList: {
            items: components["schemas"]["Lesson"][];
        };
        LessonPosition: {
            watchSeconds: number;
        };
        LessonProgress: {
            lessonId: components["schemas"]["Id"];
            /** @description The furthest second watched. */
            watchSeconds: number;
            isCompleted: boolean;
            completedAt: components["schemas"]["NullableTime"];
        };
        CourseProgress: {
            courseId: components["schemas"]["Id"];
            totalLessons: number;
            completedLessons: number;
            resumeLessonId: components["schemas"]["NullableId"];
            items: components["schemas"]["LessonProgress"][];
        };
        CourseEnrollment: {
            course: components["schemas"]["Course"];
            enrolledAt: components["schemas"]["Time"];
            totalLessons: number;
            completedLessons: number;
        };
        CourseEnrollmentPage: {
            items: components["schemas"]["CourseEnrollment"][];
            nextCursor: string | null;
        };
        /**
         * @description One line of at most 255 bytes of UTF-8, without a folder or a dot before it, see `x-text`.
         * @example Wörter.pdf
         */
        FileName: string;
        AttachmentUpload: {
            /** Format: binary */
            file: string;
        };
        Attachment: {
            id: components["schemas"]["Id"];
            name: components["schemas"]["FileName"];
            contentType: string;
            /** @description Bytes. */
            size: number;
            /** @description Its address until `expiresAt`. */
            url: string;
            expiresAt: components["schemas"]["Time"];
            createdAt: components["schemas"]["Time"];
        };
        AttachmentList: {
            items: components["schemas"]["Attachment"][];
        };
        /** Format: binary */
        UploadChunk: string;
        VideoLink: {
            /** @description An HLS master playlist. */
            url: string;
            expiresAt: components["schemas"]["Time"];
        };
        Playlist: string;
    };
    responses: {
        /** @description The user's own profile. */
        Me: {
            headers: {
                [name: string]: unknown;
            };
            content: {
                "application/json": components["schemas"]["Me"];
            };
        };
        /** @description An error; `code` is for programs, `detail` for people. */
        Problem: {
            headers: {
                /** @description Seconds to wait, with 429 and 503. */
                "Retry-After"?: number;
                [name: string]: unknown;
            };
            content: {
                "application/problem+json": components["schemas"]["Problem"];
            };
        };
    };
    parameters: {
        userId: components["schemas"]["Id"];
        sessionId: components["schemas"]["Id"];
        orderId: components["schemas"]["Id"];
        notificationId: components["schemas"]["Id"];
        courseId: components["schemas"]["Id"];
        lessonId: components["schemas"]["Id"];
        attachmentId: components["schemas"]["Id"];
        uploadId: components["schemas"]["Id"];
        /** @description The version of tus, `1.0.0`; without it 412. */
        tusResumable: string;
        /** @description Total bytes. */
        uploadLength: string;
        /** @description Keys and values in base64, stored with the upload; `HEAD` returns them. The server does not use them. */
        uploadMetadata: string;
        /** @description The offset of these bytes. */
        uploadOffset: string;
        playlistName: string;
        /** @description The token of `video-url`. */
        playbackToken: string;
        /**
         * @description Generated by the client, such as a UUID. For 24 hours the same key with the same request gets the first
         *     response; with another request it is refused (`idempotency_key_reused`).
         */
        idempotencyKey: string;
        /** @description The number of items per page. */
        limit: number;
        /** @description The `nextCursor` of the previous page. */
        cursor: string;
    };
    requestBodies: {
        RegisterRequest: {
            content: {
                "application/json": components["schemas"]["RegisterRequest"];
            };
        };
    };
    headers: {
        /** @description `public` without a token, `private` with one. */
        CacheControl: string;
        /** @description Contains `Authorization`, because the response depends on the token. */
        Vary: string;
        /** @description `true` for a repeated response. */
        IdempotentReplayed: "true";
        /** @description The address of the created resource. */
        Location: string;
        /** @description The version of tus. */
        TusResumable: "1.0.0";
        /** @description The versions of tus that are supported; also with 412. */
        TusVersion: "1.0.0";
        /** @description The supported extensions, separated by commas. */
        TusExtension: string;
        /** @description Bytes of the largest upload. */
        TusMaxSize: number;
        /** @description When the upload expires without further data, in the format of RFC 9110. */
        UploadExpires: string;
        /** @description The metadata of the creation request, unchanged; absent if there was none. */
        UploadMetadata: string;
        /** @description Total bytes. */
        UploadLength: number;
        /** @description Stored bytes. */
        UploadOffset: number;
    };
    pathItems: never;
}
export type Id = components['schemas']['Id'];
export type NullableId = components['schemas']['NullableId'];
export type Time = components['schemas']['Time'];
export type NullableTime = components['schemas']['NullableTime'];
export type ErrorCode = components['schemas']['ErrorCode'];
export type Problem = components['schemas']['Problem'];
export type Health = components['schemas']['Health'];
export type Readiness = components['schemas']['Readiness'];
export type ReadinessChecks = components['schemas']['ReadinessChecks'];
export type Check = components['schemas']['Check'];
export type JsonWebKeySet = components['schemas']['JsonWebKeySet'];
export type JsonWebKey = components['schemas']['JsonWebKey'];
export type Role = components['schemas']['Role'];
export type RoleInput = components['schemas']['RoleInput'];
export type Platform = components['schemas']['Platform'];
export type PlatformInput = components['schemas']['PlatformInput'];
export type Email = components['schemas']['Email'];
export type Password = components['schemas']['Password'];
export type DeviceId = components['schemas']['DeviceId'];
export type EmailToken = components['schemas']['EmailToken'];
export type RegisterRequest = components['schemas']['RegisterRequest'];
export type LoginRequest = components['schemas']['LoginRequest'];
export type RefreshRequest = components['schemas']['RefreshRequest'];
export type ForgotPasswordRequest = components['schemas']['ForgotPasswordRequest'];
export type ResetPasswordRequest = components['schemas']['ResetPasswordRequest'];
export type VerifyEmailRequest = components['schemas']['VerifyEmailRequest'];
export type DeviceList = components['schemas']['DeviceList'];
export type Device = components['schemas']['Device'];
export type AuthTokens = components['schemas']['AuthTokens'];
export type Account = components['schemas']['Account'];
export type Level = components['schemas']['Level'];
export type LevelInput = components['schemas']['LevelInput'];
export type LearningGoal = components['schemas']['LearningGoal'];
export type LearningGoalInput = components['schemas']['LearningGoalInput'];
export type Me = components['schemas']['Me'];
export type DisplayName = components['schemas']['DisplayName'];
export type Bio = components['schemas']['Bio'];
export type MeUpdate = components['schemas']['MeUpdate'];
export type DeleteMeRequest = components['schemas']['DeleteMeRequest'];
export type AvatarUpload = components['schemas']['AvatarUpload'];
export type Avatar = components['schemas']['Avatar'];
export type PublicProfile = components['schemas']['PublicProfile'];
export type Block = components['schemas']['Block'];
export type BlockPage = components['schemas']['BlockPage'];
export type DataExport = components['schemas']['DataExport'];
export type ExportedDispute = components['schemas']['ExportedDispute'];
export type DisputeStatus = components['schemas']['DisputeStatus'];
export type ExportedLogin = components['schemas']['ExportedLogin'];
export type ExportedCall = components['schemas']['ExportedCall'];
export type ExportedRating = components['schemas']['ExportedRating'];
export type ExportedBlock = components['schemas']['ExportedBlock'];
export type Rating = components['schemas']['Rating'];
export type ReportReason = components['schemas']['ReportReason'];
export type ReportReasonInput = components['schemas']['ReportReasonInput'];
export type ReportStatus = components['schemas']['ReportStatus'];
export type ReportStatusInput = components['schemas']['ReportStatusInput'];
export type Comment = components['schemas']['Comment'];
export type ReportRequest = components['schemas']['ReportRequest'];
export type Report = components['schemas']['Report'];
export type ReportPage = components['schemas']['ReportPage'];
export type AdminReport = components['schemas']['AdminReport'];
export type AdminReportPage = components['schemas']['AdminReportPage'];
export type ReportReview = components['schemas']['ReportReview'];
export type BanReason = components['schemas']['BanReason'];
export type BanRequest = components['schemas']['BanRequest'];
export type Search = components['schemas']['Search'];
export type ApproximateCount = components['schemas']['ApproximateCount'];
export type AdminStats = components['schemas']['AdminStats'];
export type AdminTotals = components['schemas']['AdminTotals'];
export type AdminLiveCounts = components['schemas']['AdminLiveCounts'];
export type AdminQueueWait = components['schemas']['AdminQueueWait'];
export type AdminHour = components['schemas']['AdminHour'];
export type AdminDay = components['schemas']['AdminDay'];
export type AdminRevenue = components['schemas']['AdminRevenue'];
export type AdminUser = components['schemas']['AdminUser'];
export type AdminUserPage = components['schemas']['AdminUserPage'];
export type AdminUserDetail = components['schemas']['AdminUserDetail'];
export type AuditAction = components['schemas']['AuditAction'];
export type AuditEntry = components['schemas']['AuditEntry'];
export type AuditEntryPage = components['schemas']['AuditEntryPage'];
export type CallLevel = components['schemas']['CallLevel'];
export type Partner = components['schemas']['Partner'];
export type Call = components['schemas']['Call'];
export type CallEnd = components['schemas']['CallEnd'];
export type CallPage = components['schemas']['CallPage'];
export type Money = components['schemas']['Money'];
export type Currency = components['schemas']['Currency'];
export type CheckoutRequest = components['schemas']['CheckoutRequest'];
export type Checkout = components['schemas']['Checkout'];
export type OrderStatus = components['schemas']['OrderStatus'];
export type OrderStatusInput = components['schemas']['OrderStatusInput'];
export type PaymentProvider = components['schemas']['PaymentProvider'];
export type PaymentProviderInput = components['schemas']['PaymentProviderInput'];
export type Order = components['schemas']['Order'];
export type OrderPage = components['schemas']['OrderPage'];
export type PushDevice = components['schemas']['PushDevice'];
export type PushDeviceRef = components['schemas']['PushDeviceRef'];
export type NotificationType = components['schemas']['NotificationType'];
export type Notification = components['schemas']['Notification'];
export type NotificationData = components['schemas']['NotificationData'];
export type NotificationPage = components['schemas']['NotificationPage'];
export type UnreadCount = components['schemas']['UnreadCount'];
export type ExportedPushDevice = components['schemas']['ExportedPushDevice'];
export type AdminOrder = components['schemas']['AdminOrder'];
export type OrderAlert = components['schemas']['OrderAlert'];
export type AdminOrderPage = components['schemas']['AdminOrderPage'];
export type RefundReason = components['schemas']['RefundReason'];
export type RefundRequest = components['schemas']['RefundRequest'];
export type Refund = components['schemas']['Refund'];
export type RefundStatus = components['schemas']['RefundStatus'];
export type WebhookReceipt = components['schemas']['WebhookReceipt'];
export type Course = components['schemas']['Course'];
export type CoursePage = components['schemas']['CoursePage'];
export type EnrollmentResponse = components['schemas']['EnrollmentResponse'];
export type ExportedEnrollment = components['schemas']['ExportedEnrollment'];
export type CourseTitle = components['schemas']['CourseTitle'];
export type CourseText = components['schemas']['CourseText'];
export type Slug = components['schemas']['Slug'];
export type Price = components['schemas']['Price'];
export type CourseDraft = components['schemas']['CourseDraft'];
export type CourseUpdate = components['schemas']['CourseUpdate'];
export type ThumbnailUpload = components['schemas']['ThumbnailUpload'];
export type Thumbnail = components['schemas']['Thumbnail'];
export type LessonDraft = components['schemas']['LessonDraft'];
export type LessonUpdate = components['schemas']['LessonUpdate'];
export type LessonOrder = components['schemas']['LessonOrder'];
export type Lesson = components['schemas']['Lesson'];
export type VideoStatus = components['schemas']['VideoStatus'];
export type LessonList = components['schemas']['LessonList'];
export type LessonPosition = components['schemas']['LessonPosition'];
export type LessonProgress = components['schemas']['LessonProgress'];
export type CourseProgress = components['schemas']['CourseProgress'];
export type CourseEnrollment = components['schemas']['CourseEnrollment'];
export type CourseEnrollmentPage = components['schemas']['CourseEnrollmentPage'];
export type FileName = components['schemas']['FileName'];
export type AttachmentUpload = components['schemas']['AttachmentUpload'];
export type Attachment = components['schemas']['Attachment'];
export type AttachmentList = components['schemas']['AttachmentList'];
export type UploadChunk = components['schemas']['UploadChunk'];
export type VideoLink = components['schemas']['VideoLink'];
export type Playlist = components['schemas']['Playlist'];
export type ResponseMe = components['responses']['Me'];
export type ResponseProblem = components['responses']['Problem'];
export type ParameterUserId = components['parameters']['userId'];
export type ParameterSessionId = components['parameters']['sessionId'];
export type ParameterOrderId = components['parameters']['orderId'];
export type ParameterNotificationId = components['parameters']['notificationId'];
export type ParameterCourseId = components['parameters']['courseId'];
export type ParameterLessonId = components['parameters']['lessonId'];
export type ParameterAttachmentId = components['parameters']['attachmentId'];
export type ParameterUploadId = components['parameters']['uploadId'];
export type ParameterTusResumable = components['parameters']['tusResumable'];
export type ParameterUploadLength = components['parameters']['uploadLength'];
export type ParameterUploadMetadata = components['parameters']['uploadMetadata'];
export type ParameterUploadOffset = components['parameters']['uploadOffset'];
export type ParameterPlaylistName = components['parameters']['playlistName'];
export type ParameterPlaybackToken = components['parameters']['playbackToken'];
export type ParameterIdempotencyKey = components['parameters']['idempotencyKey'];
export type ParameterLimit = components['parameters']['limit'];
export type ParameterCursor = components['parameters']['cursor'];
export type RequestBodyRegisterRequest = components['requestBodies']['RegisterRequest'];
export type HeaderCacheControl = components['headers']['CacheControl'];
export type HeaderVary = components['headers']['Vary'];
export type HeaderIdempotentReplayed = components['headers']['IdempotentReplayed'];
export type HeaderLocation = components['headers']['Location'];
export type HeaderTusResumable = components['headers']['TusResumable'];
export type HeaderTusVersion = components['headers']['TusVersion'];
export type HeaderTusExtension = components['headers']['TusExtension'];
export type HeaderTusMaxSize = components['headers']['TusMaxSize'];
export type HeaderUploadExpires = components['headers']['UploadExpires'];
export type HeaderUploadMetadata = components['headers']['UploadMetadata'];
export type HeaderUploadLength = components['headers']['UploadLength'];
export type HeaderUploadOffset = components['headers']['UploadOffset'];
export type $defs = Record<string, never>;
export interface operations {
    checkHealth: {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description The process answers. */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["Health"];
                };
            };
            default: components["responses"]["Problem"];
        };
    };
    checkReadiness: {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description Every dependency answers. */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["Readiness"];
                };
            };
            default: components["responses"]["Problem"];
        };
    };
    getMetrics: {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description Prometheus's text format. */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "text/plain": string;
                };
            };
            404: components["responses"]["Problem"];
            default: components["responses"]["Problem"];
        };
    };
    getJwks: {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description The public keys. */
            200: {
                headers: {
                    "Cache-Control"?: string;
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["JsonWebKeySet"];
                };
            };
            default: components["responses"]["Problem"];
        };
    };
    register: {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        requestBody: components["requestBodies"]["RegisterRequest"];
        responses: {
            /** @description The account exists and this device is logged in. */
            201: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["AuthTokens"];
                };
            };
            409: components["responses"]["Problem"];
            default: components["responses"]["Problem"];
        };
    };
    login: {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        requestBody: {
            content: {
                "application/json": components["schemas"]["LoginRequest"];
            };
        };
        responses: {
            /** @description This device is logged in. */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["AuthTokens"];
                };
            };
            401: components["responses"]["Problem"];
            403: components["responses"]["Problem"];
            default: components["responses"]["Problem"];
        };
    };
    refreshTokens: {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        requestBody?: {
            content: {
                "application/json": components["schemas"]["RefreshRequest"];
            };
        };
        responses: {
            /** @description New tokens; the old refresh token is used. */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["AuthTokens"];
                };
            };
            401: components["responses"]["Problem"];
            403: components["responses"]["Problem"];
            default: components["responses"]["Problem"];
        };
    };
    logout: {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description The login is revoked: its tokens stop working within a second, the device gets no push. */
            204: {
                headers: {
                    [name: string]: unknown;
                };
                content?: never;
            };
            401: components["responses"]["Problem"];
            default: components["responses"]["Problem"];
        };
    };
    logoutAll: {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description All logins are revoked: their tokens stop working within a second, no device gets a push. */
            204: {
                headers: {
                    [name: string]: unknown;
                };
                content?: never;
            };
            401: components["responses"]["Problem"];
            default: components["responses"]["Problem"];
        };
    };
    requestPasswordReset: {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        requestBody: {
            content: {
                "application/json": components["schemas"]["ForgotPasswordRequest"];
            };
        };
        responses: {
            /** @description If the address has an account, an e-mail is sent. */
            202: {
                headers: {
                    [name: string]: unknown;
                };
                content?: never;
            };
            default: components["responses"]["Problem"];
        };
    };
    resetPassword: {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        requestBody: {
            content: {
                "application/json": components["schemas"]["ResetPasswordRequest"];
            };
        };
        responses: {
            /** @description The new password is set. */
            204: {
                headers: {
                    [name: string]: unknown;
                };
                content?: never;
            };
            default: components["responses"]["Problem"];
        };
    };
    verifyEmail: {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        requestBody: {
            content: {
                "application/json": components["schemas"]["VerifyEmailRequest"];
            };
        };
        responses: {
            /** @description The address is verified. */
            204: {
                headers: {
                    [name: string]: unknown;
                };
                content?: never;
            };
            default: components["responses"]["Problem"];
        };
    };
    resendVerification: {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description Unless the address is verified, an e-mail is sent. */
            202: {
                headers: {
                    [name: string]: unknown;
                };
                content?: never;
            };
            401: components["responses"]["Problem"];
            default: components["responses"]["Problem"];
        };
    };
    listDevices: {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description The devices. */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["DeviceList"];
                };
            };
            401: components["responses"]["Problem"];
            default: components["responses"]["Problem"];
        };
    };
    logoutDevice: {
        parameters: {
            query?: never;
            header?: never;
            path: {
                deviceId: components["schemas"]["DeviceId"];
            };
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description The device is logged out: its tokens stop working within a second. */
            204: {
                headers: {
                    [name: string]: unknown;
                };
                content?: never;
            };
            401: components["responses"]["Problem"];
            404: components["responses"]["Problem"];
            default: components["responses"]["Problem"];
        };
    };
    getMe: {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            200: components["responses"]["Me"];
            401: components["responses"]["Problem"];
            default: components["responses"]["Problem"];
        };
    };
    deleteMe: {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        requestBody: {
            content: {
                "application/json": components["schemas"]["DeleteMeRequest"];
            };
        };
        responses: {
            /** @description The account is deleted. */
            204: {
                headers: {
                    [name: string]: unknown;
                };
                content?: never;
            };
            401: components["responses"]["Problem"];
            403: components["responses"]["Problem"];
            default: components["responses"]["Problem"];
        };
    };
    updateMe: {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        requestBody: {
            content: {
                "application/json": components["schemas"]["MeUpdate"];
            };
        };
        responses: {
            200: components["responses"]["Me"];
            401: components["responses"]["Problem"];
            409: components["responses"]["Problem"];
            default: components["responses"]["Problem"];
        };
    };
    exportMe: {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description The data. */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["DataExport"];
                };
            };
            401: components["responses"]["Problem"];
            default: components["responses"]["Problem"];
        };
    };
    uploadAvatar: {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        requestBody: {
            content: {
                "multipart/form-data": components["schemas"]["AvatarUpload"];
            };
        };
        responses: {
            /** @description The picture's address. */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["Avatar"];
                };
            };
            401: components["responses"]["Problem"];
            413: components["responses"]["Problem"];
            415: components["responses"]["Problem"];
            default: components["responses"]["Problem"];
        };
    };
    deleteAvatar: {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description The picture is deleted. */
            204: {
                headers: {
                    [name: string]: unknown;
                };
                content?: never;
            };
            401: components["responses"]["Problem"];
            default: components["responses"]["Problem"];
        };
    };
    listBlocks: {
        parameters: {
            query?: {
                /** @description The number of items per page. */
                limit?: components["parameters"]["limit"];
                /** @description The `nextCursor` of the previous page. */
                cursor?: components["parameters"]["cursor"];
            };
            header?: never;
            path?: never;
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description A page of blocks. */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["BlockPage"];
                };
            };
            401: components["responses"]["Problem"];
            default: components["responses"]["Problem"];
        };
    };
    getUser: {
        parameters: {
            query?: never;
            header?: never;
            path: {
                userId: components["parameters"]["userId"];
            };
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description The public profile. */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["PublicProfile"];
                };
            };
            401: components["responses"]["Problem"];
            404: components["responses"]["Problem"];
            default: components["responses"]["Problem"];
        };
    };
    blockUser: {
        parameters: {
            query?: never;
            header?: never;
            path: {
                userId: components["parameters"]["userId"];
            };
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description Blocked. */
            204: {
                headers: {
                    [name: string]: unknown;
                };
                content?: never;
            };
            401: components["responses"]["Problem"];
            404: components["responses"]["Problem"];
            default: components["responses"]["Problem"];
        };
    };
    unblockUser: {
        parameters: {
            query?: never;
            header?: never;
            path: {
                userId: components["parameters"]["userId"];
            };
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description Unblocked. */
            204: {
                headers: {
                    [name: string]: unknown;
                };
                content?: never;
            };
            401: components["responses"]["Problem"];
            404: components["responses"]["Problem"];
            default: components["responses"]["Problem"];
        };
    };
    listCalls: {
        parameters: {
            query?: {
                /** @description The number of items per page. */
                limit?: components["parameters"]["limit"];
                /** @description The `nextCursor` of the previous page. */
                cursor?: components["parameters"]["cursor"];
            };
            header?: never;
            path?: never;
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description A page of calls. */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["CallPage"];
                };
            };
            401: components["responses"]["Problem"];
            default: components["responses"]["Problem"];
        };
    };
    getCall: {
        parameters: {
            query?: never;
            header?: never;
            path: {
                sessionId: components["parameters"]["sessionId"];
            };
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description The call. */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["Call"];
                };
            };
            401: components["responses"]["Problem"];
            404: components["responses"]["Problem"];
            default: components["responses"]["Problem"];
        };
    };
    rateCall: {
        parameters: {
            query?: never;
            header?: never;
            path: {
                sessionId: components["parameters"]["sessionId"];
            };
            cookie?: never;
        };
        requestBody: {
            content: {
                "application/json": components["schemas"]["Rating"];
            };
        };
        responses: {
            /** @description The call, rated. */
            201: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["Call"];
                };
            };
            401: components["responses"]["Problem"];
            404: components["responses"]["Problem"];
            409: components["responses"]["Problem"];
            default: components["responses"]["Problem"];
        };
    };
    createReport: {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        requestBody: {
            content: {
                "application/json": components["schemas"]["ReportRequest"];
            };
        };
        responses: {
            /** @description The report. */
            201: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["Report"];
                };
            };
            401: components["responses"]["Problem"];
            404: components["responses"]["Problem"];
            409: components["responses"]["Problem"];
            default: components["responses"]["Problem"];
        };
    };
    listReports: {
        parameters: {
            query?: {
                /** @description The number of items per page. */
                limit?: components["parameters"]["limit"];
                /** @description The `nextCursor` of the previous page. */
                cursor?: components["parameters"]["cursor"];
            };
            header?: never;
            path?: never;
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description A page of reports. */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["ReportPage"];
                };
            };
            401: components["responses"]["Problem"];
            default: components["responses"]["Problem"];
        };
    };
    createCheckoutSession: {
        parameters: {
            query?: never;
            header?: {
                /**
                 * @description Generated by the client, such as a UUID. For 24 hours the same key with the same request gets the first
                 *     response; with another request it is refused (`idempotency_key_reused`).
                 */
                "Idempotency-Key"?: components["parameters"]["idempotencyKey"];
            };
            path?: never;
            cookie?: never;
        };
        requestBody: {
            content: {
                "application/json": components["schemas"]["CheckoutRequest"];
            };
        };
        responses: {
            /** @description The order and its payment page. */
            201: {
                headers: {
                    "Idempotent-Replayed": components["headers"]["IdempotentReplayed"];
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["Checkout"];
                };
            };
            401: components["responses"]["Problem"];
            404: components["responses"]["Problem"];
            409: components["responses"]["Problem"];
            422: components["responses"]["Problem"];
            default: components["responses"]["Problem"];
        };
    };
    listOrders: {
        parameters: {
            query?: {
                /** @description The number of items per page. */
                limit?: components["parameters"]["limit"];
                /** @description The `nextCursor` of the previous page. */
                cursor?: components["parameters"]["cursor"];
            };
            header?: never;
            path?: never;
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description A page of orders. */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["OrderPage"];
                };
            };
            401: components["responses"]["Problem"];
            default: components["responses"]["Problem"];
        };
    };
    getOrder: {
        parameters: {
            query?: never;
            header?: never;
            path: {
                orderId: components["parameters"]["orderId"];
            };
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description The order. */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["Order"];
                };
            };
            401: components["responses"]["Problem"];
            404: components["responses"]["Problem"];
            default: components["responses"]["Problem"];
        };
    };
    receivePaymentWebhook: {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description The event is acknowledged. */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["WebhookReceipt"];
                };
            };
            400: components["responses"]["Problem"];
            413: components["responses"]["Problem"];
            503: components["responses"]["Problem"];
            default: components["responses"]["Problem"];
        };
    };
    listNotifications: {
        parameters: {
            query?: {
                /** @description The number of items per page. */
                limit?: components["parameters"]["limit"];
                /** @description The `nextCursor` of the previous page. */
                cursor?: components["parameters"]["cursor"];
            };
            header?: never;
            path?: never;
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description A page of notifications, and the number of all unread ones. */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["NotificationPage"];
                };
            };
            401: components["responses"]["Problem"];
            default: components["responses"]["Problem"];
        };
    };
    registerPushDevice: {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        requestBody: {
            content: {
                "application/json": components["schemas"]["PushDevice"];
            };
        };
        responses: {
            /** @description The device is registered. */
            204: {
                headers: {
                    [name: string]: unknown;
                };
                content?: never;
            };
            401: components["responses"]["Problem"];
            default: components["responses"]["Problem"];
        };
    };
    unregisterPushDevice: {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        requestBody: {
            content: {
                "application/json": components["schemas"]["PushDeviceRef"];
            };
        };
        responses: {
            /** @description The device is not registered, whether it was before or not. */
            204: {
                headers: {
                    [name: string]: unknown;
                };
                content?: never;
            };
            401: components["responses"]["Problem"];
            default: components["responses"]["Problem"];
        };
    };
    markAllNotificationsRead: {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description The number of unread notifications; not 0 if another arrived meanwhile. */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["UnreadCount"];
                };
            };
            401: components["responses"]["Problem"];
            default: components["responses"]["Problem"];
        };
    };
    markNotificationRead: {
        parameters: {
            query?: never;
            header?: never;
            path: {
                notificationId: components["parameters"]["notificationId"];
            };
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description The notification. */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["Notification"];
                };
            };
            401: components["responses"]["Problem"];
            404: components["responses"]["Problem"];
            default: components["responses"]["Problem"];
        };
    };
    getAdminStats: {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description The statistics. */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["AdminStats"];
                };
            };
            401: components["responses"]["Problem"];
            403: components["responses"]["Problem"];
            default: components["responses"]["Problem"];
        };
    };
    listAdminUsers: {
        parameters: {
            query?: {
                /** @description A prefix of the e-mail address, the username or, from eight characters on, the id; case-insensitive. */
                search?: components["schemas"]["Search"];
                isBanned?: boolean;
                /** @description Whether three different learners have pending reports of the account. */
                isFlagged?: boolean;
                role?: components["schemas"]["RoleInput"];
                isVerified?: boolean;
                /** @description The number of items per page. */
                limit?: components["parameters"]["limit"];
                /** @description The `nextCursor` of the previous page. */
                cursor?: components["parameters"]["cursor"];
            };
            header?: never;
            path?: never;
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description A page of accounts. */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["AdminUserPage"];
                };
            };
            401: components["responses"]["Problem"];
            403: components["responses"]["Problem"];
            default: components["responses"]["Problem"];
        };
    };
    getAdminUser: {
        parameters: {
            query?: never;
            header?: never;
            path: {
                userId: components["parameters"]["userId"];
            };
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description The account. */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["AdminUserDetail"];
                };
            };
            401: components["responses"]["Problem"];
            403: components["responses"]["Problem"];
            404: components["responses"]["Problem"];
            default: components["responses"]["Problem"];
        };
    };
    listAdminReports: {
        parameters: {
            query?: {
                status?: components["schemas"]["ReportStatusInput"];
                /** @description Id of the reporter or actor. */
                reporterId?: components["schemas"]["Id"];
                /** @description Id of the reported learner. */
                reportedId?: components["schemas"]["Id"];
                /** @description The number of items per page. */
                limit?: components["parameters"]["limit"];
                /** @description The `nextCursor` of the previous page. */
                cursor?: components["parameters"]["cursor"];
            };
            header?: never;
            path?: never;
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description A page of reports. */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["AdminReportPage"];
                };
            };
            401: components["responses"]["Problem"];
            403: components["responses"]["Problem"];
            default: components["responses"]["Problem"];
        };
    };
    reviewReport: {
        parameters: {
            query?: never;
            header?: never;
            path: {
                reportId: components["schemas"]["Id"];
            };
            cookie?: never;
        };
        requestBody: {
            content: {
                "application/json": components["schemas"]["ReportReview"];
            };
        };
        responses: {
            /** @description The reviewed report. */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["AdminReport"];
                };
            };
            401: components["responses"]["Problem"];
            403: components["responses"]["Problem"];
            404: components["responses"]["Problem"];
            409: components["responses"]["Problem"];
            default: components["responses"]["Problem"];
        };
    };
    banUser: {
        parameters: {
            query?: never;
            header?: never;
            path: {
                userId: components["parameters"]["userId"];
            };
            cookie?: never;
        };
        requestBody: {
            content: {
                "application/json": components["schemas"]["BanRequest"];
            };
        };
        responses: {
            /** @description Banned. */
            204: {
                headers: {
                    [name: string]: unknown;
                };
                content?: never;
            };
            401: components["responses"]["Problem"];
            403: components["responses"]["Problem"];
            404: components["responses"]["Problem"];
            default: components["responses"]["Problem"];
        };
    };
    unbanUser: {
        parameters: {
            query?: never;
            header?: never;
            path: {
                userId: components["parameters"]["userId"];
            };
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description Unbanned. */
            204: {
                headers: {
                    [name: string]: unknown;
                };
                content?: never;
            };
            401: components["responses"]["Problem"];
            403: components["responses"]["Problem"];
            404: components["responses"]["Problem"];
            default: components["responses"]["Problem"];
        };
    };
    listAdminOrders: {
        parameters: {
            query?: {
                status?: components["schemas"]["OrderStatusInput"];
                provider?: components["schemas"]["PaymentProviderInput"];
                /** @description Id of the buyer. */
                userId?: components["schemas"]["Id"];
                /** @description Whether a dispute is open or lost. */
                isDisputed?: boolean;
                /** @description The number of items per page. */
                limit?: components["parameters"]["limit"];
                /** @description The `nextCursor` of the previous page. */
                cursor?: components["parameters"]["cursor"];
            };
            header?: never;
            path?: never;
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description A page of orders. */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["AdminOrderPage"];
                };
            };
            401: components["responses"]["Problem"];
            403: components["responses"]["Problem"];
            default: components["responses"]["Problem"];
        };
    };
    refundOrder: {
        parameters: {
            query?: never;
            header?: {
                /**
                 * @description Generated by the client, such as a UUID. For 24 hours the same key with the same request gets the first
                 *     response; with another request it is refused (`idempotency_key_reused`).
                 */
                "Idempotency-Key"?: components["parameters"]["idempotencyKey"];
            };
            path: {
                orderId: components["parameters"]["orderId"];
            };
            cookie?: never;
        };
        requestBody: {
            content: {
                "application/json": components["schemas"]["RefundRequest"];
            };
        };
        responses: {
            /** @description The refund. */
            201: {
                headers: {
                    "Idempotent-Replayed": components["headers"]["IdempotentReplayed"];
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["Refund"];
                };
            };
            401: components["responses"]["Problem"];
            403: components["responses"]["Problem"];
            404: components["responses"]["Problem"];
            409: components["responses"]["Problem"];
            422: components["responses"]["Problem"];
            default: components["responses"]["Problem"];
        };
    };
    listAuditEntries: {
        parameters: {
            query?: {
                /** @description Id of the reporter or actor. */
                actorId?: components["schemas"]["Id"];
                action?: components["schemas"]["AuditAction"];
                /** @description Id of the user, report or order concerned. */
                targetId?: components["schemas"]["Id"];
                /** @description The number of items per page. */
                limit?: components["parameters"]["limit"];
                /** @description The `nextCursor` of the previous page. */
                cursor?: components["parameters"]["cursor"];
            };
            header?: never;
            path?: never;
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description A page of the audit log. */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["AuditEntryPage"];
                };
            };
            401: components["responses"]["Problem"];
            403: components["responses"]["Problem"];
            default: components["responses"]["Problem"];
        };
    };
    listCourses: {
        parameters: {
            query?: {
                /** @description The number of items per page. */
                limit?: components["parameters"]["limit"];
                /** @description The `nextCursor` of the previous page. */
                cursor?: components["parameters"]["cursor"];
            };
            header?: never;
            path?: never;
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description A page of courses. */
            200: {
                headers: {
                    "Cache-Control": components["headers"]["CacheControl"];
                    Vary: components["headers"]["Vary"];
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["CoursePage"];
                };
            };
            401: components["responses"]["Problem"];
            default: components["responses"]["Problem"];
        };
    };
    createCourse: {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        requestBody: {
            content: {
                "application/json": components["schemas"]["CourseDraft"];
            };
        };
        responses: {
            /** @description The course, not published yet. */
            201: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["Course"];
                };
            };
            401: components["responses"]["Problem"];
            403: components["responses"]["Problem"];
            409: components["responses"]["Problem"];
            default: components["responses"]["Problem"];
        };
    };
    getCourse: {
        parameters: {
            query?: never;
            header?: never;
            path: {
                courseId: components["parameters"]["courseId"];
            };
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description The course. */
            200: {
                headers: {
                    "Cache-Control": components["headers"]["CacheControl"];
                    Vary: components["headers"]["Vary"];
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["Course"];
                };
            };
            401: components["responses"]["Problem"];
            404: components["responses"]["Problem"];
            default: components["responses"]["Problem"];
        };
    };
    deleteCourse: {
        parameters: {
            query?: never;
            header?: never;
            path: {
                courseId: components["parameters"]["courseId"];
            };
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description The course and its lessons are deleted. */
            204: {
                headers: {
                    [name: string]: unknown;
                };
                content?: never;
            };
            401: components["responses"]["Problem"];
            403: components["responses"]["Problem"];
            404: components["responses"]["Problem"];
            409: components["responses"]["Problem"];
            default: components["responses"]["Problem"];
        };
    };
    updateCourse: {
        parameters: {
            query?: never;
            header?: never;
            path: {
                courseId: components["parameters"]["courseId"];
            };
            cookie?: never;
        };
        requestBody: {
            content: {
                "application/json": components["schemas"]["CourseUpdate"];
            };
        };
        responses: {
            /** @description The course as it is now. */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["Course"];
                };
            };
            401: components["responses"]["Problem"];
            403: components["responses"]["Problem"];
            404: components["responses"]["Problem"];
            409: components["responses"]["Problem"];
            default: components["responses"]["Problem"];
        };
    };
    uploadThumbnail: {
        parameters: {
            query?: never;
            header?: never;
            path: {
                courseId: components["parameters"]["courseId"];
            };
            cookie?: never;
        };
        requestBody: {
            content: {
                "multipart/form-data": components["schemas"]["ThumbnailUpload"];
            };
        };
        responses: {
            /** @description The picture's address. */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["Thumbnail"];
                };
            };
            401: components["responses"]["Problem"];
            403: components["responses"]["Problem"];
            404: components["responses"]["Problem"];
            413: components["responses"]["Problem"];
            415: components["responses"]["Problem"];
            default: components["responses"]["Problem"];
        };
    };
    listLessons: {
        parameters: {
            query?: never;
            header?: never;
            path: {
                courseId: components["parameters"]["courseId"];
            };
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description All its lessons. */
            200: {
                headers: {
                    "Cache-Control": components["headers"]["CacheControl"];
                    Vary: components["headers"]["Vary"];
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["LessonList"];
                };
            };
            401: components["responses"]["Problem"];
            404: components["responses"]["Problem"];
            default: components["responses"]["Problem"];
        };
    };
    createLesson: {
        parameters: {
            query?: never;
            header?: never;
            path: {
                courseId: components["parameters"]["courseId"];
            };
            cookie?: never;
        };
        requestBody: {
            content: {
                "application/json": components["schemas"]["LessonDraft"];
            };
        };
        responses: {
            /** @description The lesson. */
            201: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["Lesson"];
                };
            };
            401: components["responses"]["Problem"];
            403: components["responses"]["Problem"];
            404: components["responses"]["Problem"];
            default: components["responses"]["Problem"];
        };
    };
    reorderLessons: {
        parameters: {
            query?: never;
            header?: never;
            path: {
                courseId: components["parameters"]["courseId"];
            };
            cookie?: never;
        };
        requestBody: {
            content: {
                "application/json": components["schemas"]["LessonOrder"];
            };
        };
        responses: {
            /** @description All its lessons in the new order. */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["LessonList"];
                };
            };
            401: components["responses"]["Problem"];
            403: components["responses"]["Problem"];
            404: components["responses"]["Problem"];
            409: components["responses"]["Problem"];
            default: components["responses"]["Problem"];
        };
    };
    enroll: {
        parameters: {
            query?: never;
            header?: {
                /**
                 * @description Generated by the client, such as a UUID. For 24 hours the same key with the same request gets the first
                 *     response; with another request it is refused (`idempotency_key_reused`).
                 */
                "Idempotency-Key"?: components["parameters"]["idempotencyKey"];
            };
            path: {
                courseId: components["parameters"]["courseId"];
            };
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description Enrolled, or the order to be paid. */
            201: {
                headers: {
                    "Idempotent-Replayed": components["headers"]["IdempotentReplayed"];
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["EnrollmentResponse"];
                };
            };
            401: components["responses"]["Problem"];
            404: components["responses"]["Problem"];
            409: components["responses"]["Problem"];
            422: components["responses"]["Problem"];
            default: components["responses"]["Problem"];
        };
    };
    getLesson: {
        parameters: {
            query?: never;
            header?: never;
            path: {
                lessonId: components["parameters"]["lessonId"];
            };
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description The lesson. */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["Lesson"];
                };
            };
            401: components["responses"]["Problem"];
            404: components["responses"]["Problem"];
            default: components["responses"]["Problem"];
        };
    };
    deleteLesson: {
        parameters: {
            query?: never;
            header?: never;
            path: {
                lessonId: components["parameters"]["lessonId"];
            };
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description The lesson is deleted, with its video, its files and all progress in it. */
            204: {
                headers: {
                    [name: string]: unknown;
                };
                content?: never;
            };
            401: components["responses"]["Problem"];
            403: components["responses"]["Problem"];
            404: components["responses"]["Problem"];
            default: components["responses"]["Problem"];
        };
    };
    updateLesson: {
        parameters: {
            query?: never;
            header?: never;
            path: {
                lessonId: components["parameters"]["lessonId"];
            };
            cookie?: never;
        };
        requestBody: {
            content: {
                "application/json": components["schemas"]["LessonUpdate"];
            };
        };
        responses: {
            /** @description The lesson as it is now. */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["Lesson"];
                };
            };
            401: components["responses"]["Problem"];
            403: components["responses"]["Problem"];
            404: components["responses"]["Problem"];
            default: components["responses"]["Problem"];
        };
    };
    setLessonProgress: {
        parameters: {
            query?: never;
            header?: never;
            path: {
                lessonId: components["parameters"]["lessonId"];
            };
            cookie?: never;
        };
        requestBody: {
            content: {
                "application/json": components["schemas"]["LessonPosition"];
            };
        };
        responses: {
            /** @description The stored position. */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["LessonProgress"];
                };
            };
            401: components["responses"]["Problem"];
            403: components["responses"]["Problem"];
            404: components["responses"]["Problem"];
            default: components["responses"]["Problem"];
        };
    };
    completeLesson: {
        parameters: {
            query?: never;
            header?: never;
            path: {
                lessonId: components["parameters"]["lessonId"];
            };
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description The lesson is completed; the time of the first completion is kept. */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["LessonProgress"];
                };
            };
            401: components["responses"]["Problem"];
            403: components["responses"]["Problem"];
            404: components["responses"]["Problem"];
            default: components["responses"]["Problem"];
        };
    };
    listAttachments: {
        parameters: {
            query?: never;
            header?: never;
            path: {
                lessonId: components["parameters"]["lessonId"];
            };
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description The files, with addresses that are valid for minutes. */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["AttachmentList"];
                };
            };
            401: components["responses"]["Problem"];
            403: components["responses"]["Problem"];
            404: components["responses"]["Problem"];
            default: components["responses"]["Problem"];
        };
    };
    uploadAttachment: {
        parameters: {
            query?: never;
            header?: never;
            path: {
                lessonId: components["parameters"]["lessonId"];
            };
            cookie?: never;
        };
        requestBody: {
            content: {
                "multipart/form-data": components["schemas"]["AttachmentUpload"];
            };
        };
        responses: {
            /** @description The file. */
            201: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["Attachment"];
                };
            };
            401: components["responses"]["Problem"];
            403: components["responses"]["Problem"];
            404: components["responses"]["Problem"];
            413: components["responses"]["Problem"];
            default: components["responses"]["Problem"];
        };
    };
    deleteAttachment: {
        parameters: {
            query?: never;
            header?: never;
            path: {
                lessonId: components["parameters"]["lessonId"];
                attachmentId: components["parameters"]["attachmentId"];
            };
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description The file is deleted. */
            204: {
                headers: {
                    [name: string]: unknown;
                };
                content?: never;
            };
            401: components["responses"]["Problem"];
            403: components["responses"]["Problem"];
            404: components["responses"]["Problem"];
            default: components["responses"]["Problem"];
        };
    };
    uploadVideo: {
        parameters: {
            query?: never;
            header?: never;
            path: {
                lessonId: components["parameters"]["lessonId"];
            };
            cookie?: never;
        };
        requestBody: {
            content: {
                "video/mp4": components["schemas"]["UploadChunk"];
                "video/quicktime": components["schemas"]["UploadChunk"];
                "video/webm": components["schemas"]["UploadChunk"];
                "video/x-matroska": components["schemas"]["UploadChunk"];
                "application/octet-stream": components["schemas"]["UploadChunk"];
            };
        };
        responses: {
            /** @description The video is stored and its transcoding enqueued; see `videoStatus` and `videoProgress`. */
            202: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["Lesson"];
                };
            };
            401: components["responses"]["Problem"];
            403: components["responses"]["Problem"];
            404: components["responses"]["Problem"];
            413: components["responses"]["Problem"];
            415: components["responses"]["Problem"];
            default: components["responses"]["Problem"];
        };
    };
    createUpload: {
        parameters: {
            query?: never;
            header: {
                /** @description The version of tus, `1.0.0`; without it 412. */
                "Tus-Resumable"?: components["parameters"]["tusResumable"];
                /** @description Total bytes. */
                "Upload-Length": components["parameters"]["uploadLength"];
                /** @description Keys and values in base64, stored with the upload; `HEAD` returns them. The server does not use them. */
                "Upload-Metadata"?: components["parameters"]["uploadMetadata"];
            };
            path: {
                lessonId: components["parameters"]["lessonId"];
            };
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description The upload; `Location` is its address. */
            201: {
                headers: {
                    Location: components["headers"]["Location"];
                    "Upload-Expires": components["headers"]["UploadExpires"];
                    "Tus-Resumable": components["headers"]["TusResumable"];
                    [name: string]: unknown;
                };
                content?: never;
            };
            401: components["responses"]["Problem"];
            403: components["responses"]["Problem"];
            404: components["responses"]["Problem"];
            412: components["responses"]["Problem"];
            413: components["responses"]["Problem"];
            default: components["responses"]["Problem"];
        };
    };
    describeUploads: {
        parameters: {
            query?: never;
            header?: never;
            path: {
                lessonId: components["parameters"]["lessonId"];
            };
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description The version, the supported extensions, and the largest upload in bytes. */
            204: {
                headers: {
                    "Tus-Version": components["headers"]["TusVersion"];
                    "Tus-Extension": components["headers"]["TusExtension"];
                    "Tus-Max-Size": components["headers"]["TusMaxSize"];
                    "Tus-Resumable": components["headers"]["TusResumable"];
                    [name: string]: unknown;
                };
                content?: never;
            };
            default: components["responses"]["Problem"];
        };
    };
    deleteUpload: {
        parameters: {
            query?: never;
            header?: {
                /** @description The version of tus, `1.0.0`; without it 412. */
                "Tus-Resumable"?: components["parameters"]["tusResumable"];
            };
            path: {
                lessonId: components["parameters"]["lessonId"];
                uploadId: components["parameters"]["uploadId"];
            };
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description The upload is deleted. */
            204: {
                headers: {
                    "Tus-Resumable": components["headers"]["TusResumable"];
                    [name: string]: unknown;
                };
                content?: never;
            };
            401: components["responses"]["Problem"];
            403: components["responses"]["Problem"];
            404: components["responses"]["Problem"];
            412: components["responses"]["Problem"];
            default: components["responses"]["Problem"];
        };
    };
    describeUpload: {
        parameters: {
            query?: never;
            header?: never;
            path: {
                lessonId: components["parameters"]["lessonId"];
                uploadId: components["parameters"]["uploadId"];
            };
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description The version, the supported extensions, and the largest upload in bytes. */
            204: {
                headers: {
                    "Tus-Version": components["headers"]["TusVersion"];
                    "Tus-Extension": components["headers"]["TusExtension"];
                    "Tus-Max-Size": components["headers"]["TusMaxSize"];
                    "Tus-Resumable": components["headers"]["TusResumable"];
                    [name: string]: unknown;
                };
                content?: never;
            };
            default: components["responses"]["Problem"];
        };
    };
    getUpload: {
        parameters: {
            query?: never;
            header?: {
                /** @description The version of tus, `1.0.0`; without it 412. */
                "Tus-Resumable"?: components["parameters"]["tusResumable"];
            };
            path: {
                lessonId: components["parameters"]["lessonId"];
                uploadId: components["parameters"]["uploadId"];
            };
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description The offset to resume at, also of a complete upload. */
            200: {
                headers: {
                    "Cache-Control"?: string;
                    "Upload-Length": components["headers"]["UploadLength"];
                    "Upload-Offset": components["headers"]["UploadOffset"];
                    "Upload-Metadata": components["headers"]["UploadMetadata"];
                    "Upload-Expires": components["headers"]["UploadExpires"];
                    "Tus-Resumable": components["headers"]["TusResumable"];
                    [name: string]: unknown;
                };
                content?: never;
            };
            401: components["responses"]["Problem"];
            403: components["responses"]["Problem"];
            404: components["responses"]["Problem"];
            412: components["responses"]["Problem"];
            default: components["responses"]["Problem"];
        };
    };
    continueUpload: {
        parameters: {
            query?: never;
            header: {
                /** @description The version of tus, `1.0.0`; without it 412. */
                "Tus-Resumable"?: components["parameters"]["tusResumable"];
                /** @description The offset of these bytes. */
                "Upload-Offset": components["parameters"]["uploadOffset"];
            };
            path: {
                lessonId: components["parameters"]["lessonId"];
                uploadId: components["parameters"]["uploadId"];
            };
            cookie?: never;
        };
        requestBody: {
            content: {
                "application/offset+octet-stream": components["schemas"]["UploadChunk"];
            };
        };
        responses: {
            /** @description Stored; the last byte enqueues the transcoding. */
            204: {
                headers: {
                    "Upload-Offset": components["headers"]["UploadOffset"];
                    "Upload-Expires": components["headers"]["UploadExpires"];
                    "Tus-Resumable": components["headers"]["TusResumable"];
                    [name: string]: unknown;
                };
                content?: never;
            };
            401: components["responses"]["Problem"];
            403: components["responses"]["Problem"];
            404: components["responses"]["Problem"];
            409: components["responses"]["Problem"];
            412: components["responses"]["Problem"];
            413: components["responses"]["Problem"];
            415: components["responses"]["Problem"];
            default: components["responses"]["Problem"];
        };
    };
    getVideoUrl: {
        parameters: {
            query?: never;
            header?: never;
            path: {
                lessonId: components["parameters"]["lessonId"];
            };
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description An HLS master playlist; request another when it has expired. */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["VideoLink"];
                };
            };
            401: components["responses"]["Problem"];
            403: components["responses"]["Problem"];
            404: components["responses"]["Problem"];
            409: components["responses"]["Problem"];
            default: components["responses"]["Problem"];
        };
    };
    getPlaylist: {
        parameters: {
            query: {
                /** @description The token of `video-url`. */
                token: components["parameters"]["playbackToken"];
            };
            header?: never;
            path: {
                lessonId: components["parameters"]["lessonId"];
                name: components["parameters"]["playlistName"];
            };
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description The playlist (RFC 8216). */
            200: {
                headers: {
                    "Cache-Control"?: string;
                    [name: string]: unknown;
                };
                content: {
                    "application/vnd.apple.mpegurl": components["schemas"]["Playlist"];
                };
            };
            401: components["responses"]["Problem"];
            403: components["responses"]["Problem"];
            404: components["responses"]["Problem"];
            409: components["responses"]["Problem"];
            default: components["responses"]["Problem"];
        };
    };
    listMyCourses: {
        parameters: {
            query?: {
                /** @description The number of items per page. */
                limit?: components["parameters"]["limit"];
                /** @description The `nextCursor` of the previous page. */
                cursor?: components["parameters"]["cursor"];
            };
            header?: never;
            path?: never;
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description A page of courses. */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["CourseEnrollmentPage"];
                };
            };
            401: components["responses"]["Problem"];
            default: components["responses"]["Problem"];
        };
    };
    getMyProgress: {
        parameters: {
            query?: never;
            header?: never;
            path: {
                courseId: components["parameters"]["courseId"];
            };
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description Each lesson in order, started or not. */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["CourseProgress"];
                };
            };
            401: components["responses"]["Problem"];
            404: components["responses"]["Problem"];
            default: components["responses"]["Problem"];
        };
    };
}
