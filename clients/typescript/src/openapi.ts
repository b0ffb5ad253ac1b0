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
        /**
         * Check each service this process depends on
         * @description Queries PostgreSQL, Redis and storage. While one of them does not answer, the response is 503.
         */
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
    "/policy": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /**
         * Read what the service publishes about itself
         * @description Documents that learners accept, the minimum age, the operator's contact (DSA art. 11 and 12), the ways in which learners
         *     meet, and how long data is kept (GDPR art. 13(2)(a)). Uses no other service. Changes with the settings of the deployment:
         *     send the `ETag` as `If-None-Match` to revalidate.
         */
        get: operations["getPolicy"];
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
         * @description For `web` the refresh token travels only in an HttpOnly cookie, over https `__Host-refresh_token`. With a
         *     `birthDate` below the minimum age there is no account, and the device is refused for a day. `account_banned` and
         *     `account_suspended`: an account with this address was sanctioned and then deleted; `detail` says until when no other
         *     can be opened with it.
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
         * @description An unknown address and a wrong password get the same response. `account_banned` and `account_suspended` require the
         *     correct password; `sanction` of the problem has the reasons, and the token for an appeal.
         *     A device has one login of an account: an earlier one with the same `deviceId` is revoked, its push token stays.
         *     Where the account has a second factor, a login without `secondFactorCode` or `secondFactorPasskey` gets 401
         *     `second_factor_required` after the correct password: ask for one and send all again. Each is accepted once.
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
        /**
         * Log this device out
         * @description The access token of the request names the login. Web clients also lose their refresh cookie.
         */
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
        /**
         * Log all devices out
         * @description Ends every login of the account, also the one of this request.
         */
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
        /**
         * Verify the address with the token of the e-mail
         * @description A token works once, and expires after 24 hours.
         */
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
        /**
         * Request another e-mail that verifies the address
         * @description The tokens of earlier e-mails stay valid until they expire.
         */
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
        /**
         * List the devices that are logged in, last used first
         * @description One entry for each login that has not ended. `isCurrent` marks the device of this request.
         */
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
        /**
         * Log one device out
         * @description Revokes the login of another device of the same account, or of this one.
         */
        delete: operations["logoutDevice"];
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/auth/second-factor": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /**
         * Read the state of the user's second factor
         * @description For staff. `isRequired`: without a factor, operations of administration answer `second_factor_required`.
         */
        get: operations["getSecondFactor"];
        put?: never;
        /**
         * Begin to enroll an authenticator app
         * @description Returns a new secret for an app (TOTP, RFC 6238), which counts once a code of it is confirmed within ten minutes. Needs
         *     the password, and to replace an app also a code of the present one, which counts until then; beside a passkey it needs a
         *     factor that was proven within ten minutes. Wrong codes are limited as in `POST /auth/second-factor/proof`.
         */
        post: operations["createSecondFactor"];
        /**
         * Remove the user's authenticator app
         * @description Every login of the account ends, also the one of this request. Passkeys stay, and are a second factor.
         */
        delete: operations["deleteSecondFactor"];
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/auth/second-factor/confirmation": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        get?: never;
        put?: never;
        /**
         * Confirm a new secret with a code of it
         * @description From now on each login of the account needs a code. The account's other logins end; this one has proven the factor.
         *     Recovery codes of an earlier factor no longer work.
         */
        post: operations["confirmSecondFactor"];
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/auth/second-factor/proof": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        get?: never;
        put?: never;
        /**
         * Prove the second factor again
         * @description Returns an access token of the same login that operations with `x-second-factor` accept for the time they name. A code or
         *     a passkey's answer is accepted once. After five wrong codes of an account in 15 minutes, here and at logins, all are refused.
         */
        post: operations["proveSecondFactor"];
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/auth/second-factor/recovery-codes": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        get?: never;
        put?: never;
        /**
         * Replace the recovery codes
         * @description Earlier ones no longer work.
         */
        post: operations["createRecoveryCodes"];
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/auth/id-token": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        get?: never;
        put?: never;
        /**
         * Log in with an ID token of Google, Apple or another provider
         * @description The token's provider and subject name the identity, and its address never does. An identity that is not linked yet is
         *     linked to the account with its address, where the provider vouches for the address and the account has verified it;
         *     else the response is 409 `password_required`: send the same again with `password`, and the identity is linked. Where
         *     no account has the address one is opened; it is verified under the same condition, else a mail asks for that. A token
         *     works once, and stays unused where the response is 409, `second_factor_required` or a wrong password.
         */
        post: operations["loginWithIdToken"];
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/auth/authorization": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        get?: never;
        put?: never;
        /**
         * Begin a login at a provider's web page
         * @description For browsers, by an authorization code with PKCE (RFC 7636). Open `authorizationUrl` in the same window. The provider
         *     redirects to `/oauth/callback` of `APP_URL` with `code` and `state`, for `POST /auth/authorization/token`, or with `error`.
         *     The cookie keeps what this browser needs for that, for ten minutes.
         */
        post: operations["startAuthorization"];
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/auth/authorization/token": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        get?: never;
        put?: never;
        /**
         * Exchange the code of a provider's redirect for an ID token
         * @description Works once, in the browser that began the login. Send the response's fields to `POST /auth/id-token`, or to
         *     `POST /users/me/identities`, as an app sends those of a provider's SDK.
         */
        post: operations["exchangeAuthorizationCode"];
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/users/me/identities": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        get?: never;
        put?: never;
        /**
         * Link an identity to the account
         * @description The identity then logs in to the account, with any address. Ten identities at most. The owner gets a mail. An
         *     identity that is linked to the account already is returned as it is.
         */
        post: operations["linkIdentity"];
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/users/me/identities/{identityId}": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        get?: never;
        put?: never;
        post?: never;
        /**
         * Remove an identity from the account
         * @description It no longer logs in to the account. The last way to log in can be removed only while the address is verified, because a
         *     code by e-mail then works. The owner gets a mail.
         */
        delete: operations["unlinkIdentity"];
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/auth/passkeys/challenge": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        get?: never;
        put?: never;
        /**
         * Begin a login with a passkey
         * @description Returns the options of `navigator.credentials.get()`, which name no account: the authenticator offers the passkeys that it
         *     has for this service. Its answer logs in with `POST /auth/passkeys/login`, or is a proof where an operation asks for one.
         *     Where the service offers no passkeys the answer is 404; `GET /auth/methods` says whether it does.
         */
        post: operations["createPasskeyChallenge"];
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/auth/passkeys/login": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        get?: never;
        put?: never;
        /**
         * Log in on a device with a passkey
         * @description The passkey names the account. Its authenticator has verified the user, by a fingerprint, a face or a PIN, so that staff need
         *     no second factor beside it. Devices and sanctions are as in `POST /auth/login`.
         */
        post: operations["loginWithPasskey"];
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/users/me/passkeys/challenge": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        get?: never;
        put?: never;
        /**
         * Begin to add a passkey
         * @description Returns the options of `navigator.credentials.create()`. Needs a proof, because a passkey is a way into the account; staff who
         *     have a second factor must have proven it within ten minutes too, by `POST /auth/second-factor/proof`, unless the proof is
         *     a passkey.
         */
        post: operations["createPasskeyRegistration"];
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/users/me/passkeys": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        get?: never;
        put?: never;
        /**
         * Add a passkey
         * @description Only the login that began with `POST /users/me/passkeys/challenge` can complete it. The first passkey of staff without a second
         *     factor is one: the account's other logins end, and this one has proven it after its next `POST /auth/refresh`.
         */
        post: operations["addPasskey"];
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/users/me/passkeys/{passkeyId}": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        get?: never;
        put?: never;
        post?: never;
        /**
         * Remove a passkey
         * @description It no longer logs in; the authenticator may keep it until the user deletes it there too. The last way to log in stays. For
         *     staff it needs a second factor that was proven within ten minutes, and where it is the last one every login ends.
         */
        delete: operations["removePasskey"];
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/auth/methods": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /**
         * Read the ways to log in that this installation offers
         * @description For the first screen of an app: show a button for each provider with a client id of the platform. Passwords always work.
         *     Changes with the settings of the deployment.
         */
        get: operations["getLoginMethods"];
        put?: never;
        post?: never;
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/auth/email-code": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        get?: never;
        put?: never;
        /**
         * Request a code by e-mail
         * @description A mail with six digits goes to every address, whether or not it has an account, and the response is the same. The code works
         *     for ten minutes, once, with the `challengeId` of this response alone: for a login, or as a proof (`emailCode`). Another
         *     request gets another code; the earlier one keeps working. 404 where `GET /auth/methods` does not offer codes. With a
         *     `deviceProof` the requests of a device that has logged in before are counted separately.
         */
        post: operations["requestEmailCode"];
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/auth/email-code/login": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        get?: never;
        put?: never;
        /**
         * Log in on a device with a code by e-mail
         * @description Also verifies the address, and opens an account where it has none. A code may be tried five times. Where the address was not
         *     verified before, the account's password, passkeys, identities and other logins are removed, because another person may have
         *     set them up; a mail says so. `email_taken`: an account that had this address until lately can get it back.
         *     `second_factor_required` as at `POST /auth/login`: send all again with a code of the authenticator app.
         *     With a `deviceProof` the wrong codes of a device that has logged in before are counted separately.
         */
        post: operations["loginWithEmailCode"];
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/auth/email-change/undo": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        get?: never;
        put?: never;
        /**
         * Undo a change of an account's address
         * @description With the token of the mail to the old address, for 72 hours. The account gets that address back; changes that came later are
         *     undone too. All devices are logged out. The password is removed, and so are passkeys and identities that were added within
         *     72 hours before the change or since: who has changed the address may know them. Log in with a code by e-mail, or reset
         *     the password.
         */
        post: operations["undoEmailChange"];
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/users/me/login-methods": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /**
         * Read the ways to log in to the user's account
         * @description For the account page, beside `GET /auth/devices`. A code by e-mail works too, where the installation offers it.
         */
        get: operations["getMyLoginMethods"];
        put?: never;
        post?: never;
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/users/me/password": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        get?: never;
        /**
         * Set a new password
         * @description The proof is the present password where the account has one, else any other. The account's other logins are revoked, links
         *     that were mailed to reset the password stop working, and a mail says so.
         */
        put: operations["changePassword"];
        post?: never;
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/users/me/email-change": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        get?: never;
        put?: never;
        /**
         * Request a change of the account's address
         * @description A code goes to the new address, and a notice to the present one. The response does not show whether the new address has
         *     another account. A new request invalidates the code of the one before.
         */
        post: operations["requestEmailChange"];
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/users/me/email-change/confirmation": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        get?: never;
        put?: never;
        /**
         * Change the account's address with the code that went to it
         * @description The new address is verified by this. Both addresses get a mail. The link in the mail to the old address,
         *     `/undo-email-change?token=`, undoes the change for 72 hours, if the old address was verified. All devices stay logged in; the
         *     claim `email` of access tokens is the old address until they are refreshed, and so is the account of a `deviceProof`.
         */
        post: operations["confirmEmailChange"];
        delete?: never;
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
        /**
         * Read the user's own profile
         * @description With statistics of the user's calls and the fields that only the user sees.
         */
        get: operations["getMe"];
        put?: never;
        post?: never;
        delete?: never;
        options?: never;
        head?: never;
        /**
         * Change the user's own profile
         * @description Fields that are absent keep their value; `null` clears a field. A changed text of `x-text-filter` may be refused with
         *     `text_refused`, whose `detail` names the field. To set a text that others read (`username`,
         *     `displayName`, `bio`) needs what `find_partner` needs, except the profile: `missing` of the profile lists it.
         */
        patch: operations["updateMe"];
        trace?: never;
    };
    "/users/me/deletion": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        get?: never;
        put?: never;
        /**
         * Delete the user's account
         * @description Needs the password or another proof. Personal data, picture, tokens and devices are deleted; calls and orders are kept
         *     without identity. An administrator has to be demoted first.
         */
        post: operations["deleteMe"];
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/users/me/export": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /**
         * Download the user's data
         * @description All personal data that the service stores about the user, as one JSON document.
         */
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
         * @description JPEG, PNG or WebP by its bytes, 25 megapixels at most; it becomes a square of 400 pixels without metadata. The
         *     deployment may screen pictures: `picture_refused`, or `isUnderReview`, while others do not see the picture.
         */
        post: operations["uploadAvatar"];
        /**
         * Delete the user's picture
         * @description Has no effect if the profile has no picture.
         */
        delete: operations["deleteAvatar"];
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/users/me/age": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        get?: never;
        /**
         * Set the user's age
         * @description Send `birthDate`, which is not stored, or the `ageBand` with the `source` that gave it to the app: Apple's Declared
         *     Age Range or Google's Play Age Signals. Below the minimum age the response is `too_young`, and for a day so is each
         *     further one from this device or account. A younger band replaces an older one at once, an older band a younger
         *     one no earlier than a learner can have grown older. The account of a child below 13 is deleted after a day.
         */
        put: operations["setAge"];
        post?: never;
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/users/me/consents": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /**
         * List the documents with the user's consents
         * @description In the order in which they are shown. A document whose version is not the accepted one needs consent again.
         */
        get: operations["listConsents"];
        put?: never;
        /**
         * Consent to the current version of a document
         * @description Idempotent. Another version than the current one is answered with `request_invalid`.
         */
        post: operations["giveConsent"];
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/users/me/consents/{document}": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        get?: never;
        put?: never;
        post?: never;
        /**
         * Withdraw the consent to a document
         * @description A search ends with `terms_required`; a call goes on until it ends.
         */
        delete: operations["withdrawConsent"];
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
        /**
         * List blocked learners, newest first
         * @description Blocked learners are never matched with the user, in either direction.
         */
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
        /**
         * Read another learner's public profile
         * @description The profile as other learners see it. A deleted account is answered with 404.
         */
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
        /**
         * Block a learner
         * @description The two are not matched again, in either direction. Ends their partnership, with wishes of both, their appointments
         *     and their open invitation; an unblock brings none of them back. Idempotent; the blocked learner is not notified of
         *     the block.
         */
        put: operations["blockUser"];
        post?: never;
        /**
         * Unblock a learner
         * @description The two can be matched again. A partnership and appointments that the block ended stay ended.
         */
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
        /**
         * List the user's calls, newest first
         * @description Calls that have ended, and the one that is open.
         */
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
        /**
         * Read one of the user's calls
         * @description A call of other learners is answered with 404.
         */
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
        /**
         * Rate the partner after a call
         * @description Each participant rates a call that connected once, after its end (`call_not_ended` before). With `pace` the
         *     partners of both are chosen better from then on.
         */
        post: operations["rateCall"];
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/partners": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /**
         * List the user's partners, newest first
         * @description Two learners are partners once both have asked for it. Whom the user has asked, and who has asked the user, is not
         *     listed before. A partner who may not be met is left out as long as that lasts: banned, reported by one of the two, or
         *     of another age band. A block is no such pause: it ends the partnership and the appointments of the two for good.
         */
        get: operations["listPartners"];
        put?: never;
        post?: never;
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/partners/{userId}": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        get?: never;
        /**
         * Ask for partnership with a learner
         * @description For a learner with whom the user has had a call that connected; others are not found, nor are learners whom the user
         *     has blocked. The other learner is not notified and cannot see it. If both have asked, both are notified and are
         *     partners. The response is the same in each case. Idempotent. A user has at most 500 wishes; with 200 partners, or that
         *     many wishes, another one is refused with `too_many_partners`.
         */
        put: operations["askPartner"];
        post?: never;
        /**
         * End a partnership, or take back a wish
         * @description Cancels the appointments of the two. Until both ask again they are not partners. The other learner is not notified of
         *     the end of the partnership. Idempotent; the response is the same for learners who were never asked.
         */
        delete: operations["removePartner"];
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/appointments": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /**
         * List the user's appointments, the next first
         * @description Proposed and accepted ones, until they end. Those with a learner who may not be met at present are left out, as from
         *     the list of partners.
         */
        get: operations["listAppointments"];
        put?: never;
        /**
         * Propose a time to a partner
         * @description The time is that of the clocks in `timezone`, in the future and at most 366 days ahead. A time that the clocks skip is
         *     refused; of a time that comes twice the first is meant, unless `utcOffset` names the other. The partner is notified,
         *     unless two proposals of the last hour to them were cancelled before they were answered; then it is only listed.
         *
         *     If there is an appointment of the two at that instant: the user's own proposal is returned if all fields are the
         *     same, and the partner's is accepted if the duration is the same and no other note was sent. Else the answer is
         *     `appointment_exists`, and nothing has changed.
         *
         *     If the rules of the time zone change later, the time of the clocks stays. Both are reminded of an accepted
         *     appointment 24 hours and ten minutes before it begins, each if it was accepted earlier. Needs what `find_partner` needs, except
         *     the profile. A learner who is not a partner is not found. At most 20 proposals to one partner are open, or of the
         *     last 24 hours (`too_many_appointments`).
         */
        post: operations["proposeAppointment"];
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/appointments/{appointmentId}": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        get?: never;
        put?: never;
        post?: never;
        /**
         * Cancel an appointment
         * @description Either of the two may, until it begins (`appointment_closed` after). The other is notified of the end of an accepted
         *     appointment. To cancel one that is cancelled or declined already changes nothing.
         */
        delete: operations["cancelAppointment"];
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/appointments/{appointmentId}/accept": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        get?: never;
        put?: never;
        /**
         * Accept an appointment
         * @description By the learner to whom it was proposed, until it begins; the proposer is notified. Repeated requests change nothing.
         *     One that was declined or cancelled meanwhile, or has begun, is refused with `appointment_closed`.
         */
        post: operations["acceptAppointment"];
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/appointments/{appointmentId}/decline": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        get?: never;
        put?: never;
        /**
         * Decline an appointment
         * @description By the learner to whom it was proposed, until it begins; the proposer is notified. Repeated requests change nothing.
         *     One that was accepted or cancelled meanwhile, or has begun, is refused with `appointment_closed`.
         */
        post: operations["declineAppointment"];
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
        /**
         * Report the partner of a call
         * @description Works during the call too, which goes on. The two are not matched again; with `isBlocked` the reported learner is
         *     blocked as well, in the same transaction. Administrators review each report, urgent reasons (`minor_safety`,
         *     `threat`) within a day. The reported learner is not notified and never learns who reported; the reporter is
         *     notified of the decision: whether we acted, not how (DSA, article 16(5)).
         */
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
        /**
         * List the user's reports, newest first
         * @description A report is `pending` until it was reviewed, then `reviewed` with an `outcome`: whether we acted, not how. A reporter
         *     who disagrees writes to the contact of `GET /policy`, and a person answers.
         */
        get: operations["listReports"];
        put?: never;
        post?: never;
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/users/me/sanctions": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /**
         * List the user's sanctions, newest first
         * @description Also lifted ones, and suspensions that have ended. Show a warning until `acknowledgedAt` is set.
         */
        get: operations["listMySanctions"];
        put?: never;
        post?: never;
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/users/me/sanctions/{sanctionId}/acknowledge": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        get?: never;
        put?: never;
        /**
         * Confirm that the user has read a warning
         * @description Repeated requests change nothing. Other sanctions than warnings are not found.
         */
        post: operations["acknowledgeWarning"];
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/users/me/sanctions/{sanctionId}/appeal": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        get?: never;
        put?: never;
        /**
         * Appeal against a sanction of the user
         * @description For warnings, and suspensions that have ended. A sanction has one appeal, until its `appealUntil`.
         */
        post: operations["appealMySanction"];
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/appeals": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        get?: never;
        put?: never;
        /**
         * Appeal against a sanction with a token
         * @description For accounts that cannot log in. The token is that of the e-mail, or of the refused login. A sanction has one
         *     appeal, free of charge, until its `appealUntil`; the decision is sent by e-mail.
         */
        post: operations["submitAppeal"];
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/appeals/sanction": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        get?: never;
        put?: never;
        /**
         * Read the sanction of a token, and the state of its appeal
         * @description Works after the appeal too. The token is in the body, so that no log has it.
         */
        post: operations["readSanction"];
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
        /**
         * List the user's orders, newest first
         * @description Orders of all states, also those that were never paid.
         */
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
        /**
         * Read one of the user's orders
         * @description Read it after the return from the payment page, until its `status` is no longer `pending`.
         */
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
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/notifications/devices/{deviceId}": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        get?: never;
        put?: never;
        post?: never;
        /**
         * Unregister a device from push notifications
         * @description Logout does this too. Idempotent.
         */
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
        /**
         * Mark all notifications as read
         * @description Notifications that arrive during the request may stay unread.
         */
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
         * @description The newest ten calls, reports and orders each, and all bans of the audit log. Moderators see no orders.
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
        /**
         * List reports, newest first or as a review queue
         * @description Filters are combined: a report is listed if it matches all of them. The review queue has the pending reports alone,
         *     in the order in which they should be reviewed.
         */
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
         * @description With `sanction` the reported learner is sanctioned too, and the report is `actioned`. A suspension and a ban need a
         *     second factor as recent as `PATCH /admin/users/{userId}/ban` does. `isBanned` is the older form: a ban
         *     whose reason, the note or else the report's reason, the learner does not read; beside `sanction` it is ignored.
         */
        patch: operations["reviewReport"];
        trace?: never;
    };
    "/admin/pictures": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /**
         * List pictures that wait for review, those that wait longest first
         * @description Pictures of profiles that the screen did not decide, or that others do not see because of open reports about the
         *     learner. A picture that is removed or replaced by its owner, or whose reports are reviewed, waits no longer.
         */
        get: operations["listPictures"];
        put?: never;
        post?: never;
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/admin/pictures/{userId}/decision": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        get?: never;
        put?: never;
        /**
         * Keep or remove a picture that waits for review
         * @description The decision is about the picture at `avatarUrl` alone: where another member of staff has decided it, or the learner
         *     has replaced it, nothing changes (`picture_not_waiting`). Reports from before the decision hide no later picture
         *     either; they stay open until they are reviewed. Nobody decides about the own picture (`forbidden`).
         */
        post: operations["decidePicture"];
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
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
         * @description Within a second its logins are revoked, its sockets closed, its search and room left. The learner does not read the
         *     reason; `POST /admin/users/{userId}/sanctions` bans with a statement of the facts. A banned account stays as it is.
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
        /**
         * Unban an account
         * @description The account can log in again. Its earlier logins stay revoked.
         */
        patch: operations["unbanUser"];
        trace?: never;
    };
    "/admin/users/{userId}/sanctions": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /**
         * List the sanctions of an account, newest first
         * @description Also lifted ones, and suspensions that have ended.
         */
        get: operations["listUserSanctions"];
        put?: never;
        /**
         * Warn, suspend or ban an account
         * @description The learner gets a statement of reasons with ground, facts, end and how to appeal (DSA, article 17), by e-mail and
         *     as a notification. With a suspension or a ban, logins are revoked, sockets closed, search and room left within a second.
         */
        post: operations["createSanction"];
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/admin/sanctions/{sanctionId}/lift": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        get?: never;
        put?: never;
        /**
         * Lift a sanction
         * @description The learner is notified. An open appeal is closed. Earlier logins stay revoked.
         */
        post: operations["liftSanction"];
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/admin/appeals": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /**
         * List appeals, newest first
         * @description Each with its sanction.
         */
        get: operations["listAppeals"];
        put?: never;
        post?: never;
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/admin/appeals/{appealId}/decision": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        get?: never;
        put?: never;
        /**
         * Decide an appeal
         * @description Not by the administrator who issued the sanction (`forbidden`). `overturned` lifts the sanction in the same
         *     transaction. The learner gets the decision with its reason, by e-mail and as a notification.
         */
        post: operations["decideAppeal"];
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/admin/orders": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /**
         * List orders, newest first
         * @description Filters are combined: an order is listed if it matches all of them.
         */
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
        /**
         * List the audit log, newest first
         * @description Each entry is one action of staff. Filters are combined. Moderators see their own entries: `actorId` of another is
         *     refused with `forbidden`.
         */
        get: operations["listAuditEntries"];
        put?: never;
        post?: never;
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/admin/staff": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /**
         * List the accounts of staff, newest first
         * @description Administrators and moderators, with their second factor and the last use of their logins.
         */
        get: operations["listStaff"];
        put?: never;
        post?: never;
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/admin/staff/{userId}/logins": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /**
         * List the logins of a staff account, last used first
         * @description One entry for each login that has not ended. `isCurrent` marks the login of this request.
         */
        get: operations["listStaffLogins"];
        put?: never;
        post?: never;
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/admin/staff/{userId}/logins/{loginId}": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        get?: never;
        put?: never;
        post?: never;
        /**
         * End a login of a staff account
         * @description The audit log has an entry of it.
         */
        delete: operations["endStaffLogin"];
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
        /**
         * Create a course
         * @description The course is a draft until `isPublished` is set by `PATCH /courses/{courseId}`.
         */
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
        /**
         * Delete a course without enrollments and orders
         * @description A course with enrollments or orders is refused (`course_in_use`); unpublish it instead.
         */
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
        /**
         * Add a lesson at the end of a course
         * @description The lesson has no video yet; upload one to it.
         */
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
        /**
         * Read a lesson
         * @description Of a course that the user may see. Its video and files have operations of their own.
         */
        get: operations["getLesson"];
        put?: never;
        post?: never;
        /**
         * Delete a lesson
         * @description Learners lose their progress in it.
         */
        delete: operations["deleteLesson"];
        options?: never;
        head?: never;
        /**
         * Change a lesson
         * @description Fields that are absent keep their value.
         */
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
        /**
         * Add a file to a lesson
         * @description A file of any type, 25 MiB at most. Its name is that of the form part.
         */
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
        /**
         * Remove a file from a lesson
         * @description Links to it that were issued before stop working.
         */
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
        /**
         * Cancel an upload
         * @description The received bytes are deleted. A video that plays already is kept.
         */
        delete: operations["deleteUpload"];
        /**
         * Read the server's tus capabilities at an upload
         * @description As at `/lessons/{lessonId}/video/uploads`.
         */
        options: operations["describeUpload"];
        /**
         * Read an upload's offset
         * @description Send it before an upload is resumed: the next bytes start at `Upload-Offset`.
         */
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
        /**
         * List the user's courses, latest enrollment first
         * @description Each with the number of completed lessons. Unpublished courses stay in the list.
         */
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
        /**
         * Read the user's progress in a course
         * @description For courses that the user may see, enrolled or not.
         */
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
        /**
         * Format: uuid
         * @description A UUID in its usual form, 36 characters with hyphens.
         * @example 7f8de2c4-6c0b-4b58-9a83-0a1c4c6ad1f0
         */
        Id: string;
        /**
         * Format: uuid
         * @description Id of a user.
         * @example 7f8de2c4-6c0b-4b58-9a83-0a1c4c6ad1f0
         */
        UserId: string;
        /**
         * Format: uuid
         * @description Id of a call, `session_id` in the event `match_found`.
         * @example 52a0e5f6-3c5b-4c53-8f5e-6f0f4bb1f3c7
         */
        CallId: string;
        /**
         * Format: uuid
         * @description Id of the room of a call, by which events name it.
         * @example 52d7a8f3-0c6e-4b91-8e45-d1f09b37a6c2
         */
        RoomId: string;
        /**
         * Format: uuid
         * @description Id of an appointment.
         * @example 3b9e5d17-f08c-4a62-8d41-c7e2a6509b83
         */
        AppointmentId: string;
        /**
         * Format: uuid
         * @description Id of a report.
         * @example a94c7e16-d3f8-4250-9b07-6e1d8c5f2a34
         */
        ReportId: string;
        /**
         * Format: uuid
         * @description Id of a sanction.
         * @example e41c9b70-5a2d-4f86-9c3e-8d7b6a0f2e15
         */
        SanctionId: string;
        /**
         * Format: uuid
         * @description Id of an appeal.
         * @example 90d7e3f2-1b6c-4a58-8e04-c5a9f7b3d261
         */
        AppealId: string;
        /**
         * Format: uuid
         * @description Id of an order.
         * @example 0b6f4e8a-91d2-4c75-a3e0-7f58b2c9d164
         */
        OrderId: string;
        /**
         * Format: uuid
         * @description Id of a refund.
         * @example d80e35b7-4f1a-49c6-8b92-c7a60e1f5d43
         */
        RefundId: string;
        /**
         * Format: uuid
         * @description Id of a dispute.
         * @example 61f3d9c0-b8e7-4a52-97d4-0e5a2b8c7f19
         */
        DisputeId: string;
        /**
         * Format: uuid
         * @description Id of a notification.
         * @example c1f7a3d2-95b4-4e6e-a8b0-2f6d7c8e9a34
         */
        NotificationId: string;
        /**
         * Format: uuid
         * @description Id of a course.
         * @example c0a8f1d2-4b7e-4f39-8c6d-51e2a9b7d304
         */
        CourseId: string;
        /**
         * Format: uuid
         * @description Id of a lesson.
         * @example 2f9b6c81-e5d4-4073-9a1e-8c7d0b3f64a5
         */
        LessonId: string;
        /**
         * Format: uuid
         * @description Id of an attachment.
         * @example b73d1a5e-60c9-4f28-a4b7-2e9f8d0c6b51
         */
        AttachmentId: string;
        /**
         * Format: date-time
         * @description RFC 3339 in UTC, with milliseconds.
         * @example 2026-03-14T09:26:53.589Z
         */
        Time: string;
        /**
         * Format: date-time
         * @description RFC 3339 in UTC, with milliseconds; null if it has not happened.
         * @example 2026-03-14T09:26:53.589Z
         */
        NullableTime: string | null;
        /**
         * @description The `cursor` of the next page; null on the last page.
         * @example MjAyNi0wMy0xNFQwOToyNjo1My41ODkwMDArMDA6MDB8NTJhMGU1ZjYtM2M1Yi00YzUzLThmNWUtNmYwZjRiYjFmM2M3
         */
        NextCursor: string | null;
        /**
         * @description What went wrong, for programs. A code keeps its meaning; new ones may be added. `x-codes` of an operation lists its
         *     own; the description of this document lists those of all operations. Known values: `request_invalid`, `unauthenticated`, `forbidden`, `not_found`, `method_not_allowed`, `not_acceptable`, `request_timeout`, `payload_too_large`, `uri_too_long`, `unsupported_media_type`, `headers_too_large`, `rate_limited`, `internal`, `unavailable`, `email_taken`, `invalid_credentials`, `account_banned`, `account_suspended`, `refresh_token_invalid`, `refresh_token_reused`, `token_invalid`, `password_too_common`, `id_token_invalid`, `code_invalid`, `passkey_invalid`, `authorization_failed`, `email_missing`, `password_required`, `identity_taken`, `last_login_method`, `too_many_login_methods`, `last_admin`, `second_factor_required`, `second_factor_invalid`, `age_required`, `too_young`, `terms_required`, `email_unverified`, `username_taken`, `text_refused`, `picture_refused`, `already_rated`, `call_not_ended`, `already_reported`, `already_sanctioned`, `sanction_lifted`, `already_appealed`, `appeal_closed`, `picture_not_waiting`, `too_many_partners`, `too_many_appointments`, `appointment_exists`, `appointment_closed`, `course_is_free`, `already_enrolled`, `payment_pending`, `signature_invalid`, `payment_refused`, `order_not_refundable`, `refund_pending`, `refund_too_large`, `not_enrolled`, `course_in_use`, `slug_taken`, `lessons_differ`, `video_not_ready`, `upload_offset_differs`, `upload_version_unsupported`, `idempotency_key_reused`, `idempotency_in_flight`.
         */
        ErrorCode: string;
        /** @description An error as RFC 9457 describes it. */
        Problem: {
            /**
             * Format: uri-reference
             * @description A reference to the page about this kind of error, one for each `code`.
             * @example /problems/email_taken
             */
            type: string;
            /**
             * @description A sentence about the kind of error, the same for each occurrence.
             * @example This e-mail address has an account already.
             */
            title: string;
            /**
             * Format: int32
             * @description The status of the response.
             * @example 409
             */
            status: number;
            /**
             * @description A sentence about this occurrence, in English, which may be shown to users.
             * @example Log in with this address, or reset its password.
             */
            detail: string;
            /** @example email_taken */
            code: components["schemas"]["ErrorCode"];
            /** @description Of `account_banned` and `account_suspended` at a login alone, the sanction in force. */
            sanction?: components["schemas"]["SanctionInForce"];
        };
        /** @description That the process runs. */
        Health: {
            /**
             * @description Always `ok`; a process that does not run does not answer.
             * @enum {string}
             */
            status: "ok";
            /** @description The present by the clock of the server. */
            timestamp: components["schemas"]["Time"];
        };
        /** @description What the service publishes about itself. */
        Policy: {
            /** @description What learners accept, in the order in which it is shown. */
            documents: components["schemas"]["PolicyDocument"][];
            /**
             * Format: int32
             * @description The youngest learners that may use the service, in years.
             * @example 18
             */
            minimumAge: number;
            /**
             * @description Whether minors practise, with each other; where `off`, only adults do.
             * @enum {string}
             */
            minorPools: "off" | "on";
            contact: components["schemas"]["PolicyContact"];
            /** @description How learners meet, on any platform. */
            waysToMeet: components["schemas"]["WayToMeet"][];
            pairing: components["schemas"]["PairingPlatforms"];
            /** @description How long data is kept. */
            retention: components["schemas"]["RetentionRule"][];
        };
        /** @description A document, as Markdown rendered at `url`. */
        PolicyDocument: {
            /** @description Which document it is; `rules` are the rules of conduct. Known values: `terms`, `rules`, `privacy`. */
            name: string;
            /**
             * @description Changes with the text; consents name it.
             * @example 2026-12-01
             */
            version: string;
            /**
             * @description The title.
             * @example Terms of use
             */
            title: string;
            /**
             * Format: uri
             * @description The page of the document.
             * @example https://api.example.com/terms
             */
            url: string;
        };
        /** @description The operator. */
        PolicyContact: {
            /**
             * Format: email
             * @description The operator's e-mail address; null where it is not configured.
             * @example contact@example.com
             */
            email: string | null;
            /**
             * @description The operator's postal address; null where it is not configured.
             * @example Parlance, 1 Example Street, 10115 Berlin
             */
            address: string | null;
            /**
             * Format: uri
             * @description The page of the contact.
             * @example https://api.example.com/contact
             */
            url: string;
        };
        /**
         * @description `anyone`: a search by level and topic; `partners`: learners who both want to stay in touch; `course`: learners who are
         *     enrolled in the same course. Each is a value of `among` of `find_partner`.
         */
        WayToMeet: string;
        /** @description How learners meet on each platform, which is that of the login. */
        PairingPlatforms: {
            /** @description How its learners meet; a search among others is refused with `pool_closed`. */
            ios: components["schemas"]["WayToMeet"][];
            /** @description How its learners meet; a search among others is refused with `pool_closed`. */
            android: components["schemas"]["WayToMeet"][];
            /** @description How its learners meet; a search among others is refused with `pool_closed`. */
            web: components["schemas"]["WayToMeet"][];
        };
        /** @description How long one kind of data is kept. */
        RetentionRule: {
            /**
             * @description The kind, for programs; new ones may be added.
             * @example calls
             */
            name: string;
            /**
             * @description The kind, for people.
             * @example Calls: partner, time, length, topic, level, ratings
             */
            data: string;
            /**
             * Format: int32
             * @description Days from the event that `rule` names; null where no number is known in advance.
             * @example 365
             */
            days: number | null;
            /**
             * @description From which event on, and what stays.
             * @example From the beginning of the call, then deleted; your totals stay.
             */
            rule: string;
        };
        /** @description That each dependency answers; with one that does not, the response is 503. */
        Readiness: {
            /**
             * @description Always `ok`.
             * @enum {string}
             */
            status: "ok";
            checks: components["schemas"]["ReadinessChecks"];
        };
        /** @description One entry for each dependency. */
        ReadinessChecks: {
            /** @description The check of PostgreSQL. */
            database: components["schemas"]["Check"];
            /** @description The check of Redis. */
            redis: components["schemas"]["Check"];
            /** @description The check of the S3 storage. */
            storage: components["schemas"]["Check"];
        };
        /** @description The check of one dependency. */
        Check: {
            /**
             * @description Whether the dependency answered.
             * @example true
             */
            isAvailable: boolean;
            /**
             * Format: double
             * @description How long the answer took, in milliseconds.
             * @example 1.84
             */
            answerMilliseconds: number;
        };
        /** @description A JSON Web Key Set (RFC 7517). */
        JsonWebKeySet: {
            /** @description The current key and earlier ones whose tokens may still be valid. */
            keys: components["schemas"]["JsonWebKey"][];
        };
        /** @description A public key that verifies access tokens (RFC 7517, RFC 7518). */
        JsonWebKey: {
            /** @description The type of the key. Known values: `RSA`. */
            kty: string;
            /** @description What the key is for; `sig` verifies signatures. */
            use: string;
            /** @description The algorithm of the signatures. Known values: `RS256`. */
            alg: string;
            /**
             * @description Name of the key, in the header of each token that it verifies.
             * @example key-v1
             */
            kid: string;
            /**
             * @description The modulus, in base64url.
             * @example uOTnVBw2fNy91oTm6nCqbjWKj0d1cxL8hYwA2pSgVbX4kQzR9eM3tJ7iF5vGcNaHsZyDlPfEoUxBrTqWk6mI0w
             */
            n: string;
            /**
             * @description The exponent, in base64url.
             * @example AQAB
             */
            e: string;
        };
        /**
         * @description `student` is a learner. `moderator` and `admin` are staff: each may use the operations of administration that name
         *     the role in `x-role`.
         */
        Role: string;
        /**
         * @description `student` is a learner. `moderator` and `admin` are staff: each may use the operations of administration that name
         *     the role in `x-role`.
         * @enum {string}
         */
        RoleInput: "student" | "admin" | "moderator";
        /**
         * @description What the app runs on. `web` gets its refresh token in a cookie. Known values: `ios`, `android`, `web`.
         * @example android
         */
        Platform: string;
        /**
         * @description What the app runs on. `web` gets its refresh token in a cookie.
         * @example android
         * @enum {string}
         */
        PlatformInput: "ios" | "android" | "web";
        /**
         * Format: email
         * @description International addresses (RFC 6531) are accepted. Compared without regard to case, Unicode form (NFC, full-width, ß and
         *     ss) and the spelling of an international domain. Refused with `request_invalid` are addresses that mail programs
         *     interpret differently: specials (`,` `<` `(`), quoted local parts, encoded words, invisible characters, addresses
         *     of numbers.
         * @example ada@example.com
         */
        Email: string;
        /**
         * Format: email
         * @description The address of an account, as it was registered; international addresses (RFC 6531) too. That of a deleted
         *     account ends in `@deleted.invalid`.
         * @example ada@example.com
         */
        AccountEmail: string;
        /**
         * @description Whether the user has opened the link of the e-mail that verifies the address.
         * @example true
         */
        IsVerified: boolean;
        /**
         * Format: password
         * @description 8 characters at least, 72 bytes of UTF-8 at most, counted after RFC 8265 (OpaqueString: NFC, every space an ASCII
         *     one), so that every keyboard yields the same password. A new password has no control characters and is not one of the
         *     10,000 most common (`password_too_common`).
         * @example correct horse
         */
        Password: string;
        /**
         * @description Id of an installation of the app, which the app generates once and keeps.
         * @example pixel-9
         */
        DeviceId: string;
        /**
         * @description Proof that this device has logged in to this account. Keep it after logout and send it with the next login: wrong
         *     passwords from other devices then cannot lock this device out. It grants no access by itself.
         * @example eyJhbGciOiJSUzI1NiIsImtpZCI6ImtleS12MSJ9.eyJkZXZpY2UiOiJwaXhlbC05In0.Zm9yLXRoZS1leGFtcGxl
         */
        DeviceProof: string;
        /**
         * @description The `token` of the link in an e-mail; it works once.
         * @example V2hhdC1hLWxvdmVseS1kYXktdG8tcHJhY3Rpc2U
         */
        EmailToken: string;
        /**
         * @description A refresh token. It works once, and is exchanged for the next.
         * @example c2hvdWxkLWJlLWtlcHQtaW4tdGhlLWtleWNoYWlu
         */
        RefreshToken: string;
        /** @description The new account, and the device that is logged in to it. */
        RegisterRequest: {
            email: components["schemas"]["Email"];
            password: components["schemas"]["Password"];
            deviceId: components["schemas"]["DeviceId"];
            platform: components["schemas"]["PlatformInput"];
            birthDate?: components["schemas"]["BirthDate"];
            /** @description Documents to which the user consents with the registration, each in its current version. */
            consents?: components["schemas"]["ConsentRequest"][];
        };
        /** @description An account with its password, and the device to log in. */
        LoginRequest: {
            email: components["schemas"]["Email"];
            password: components["schemas"]["Password"];
            deviceId: components["schemas"]["DeviceId"];
            platform: components["schemas"]["PlatformInput"];
            /**
             * @description The newest `deviceProof` of this device. With it the device's wrong passwords are counted separately.
             *     An expired one, or one of another account or device, is ignored.
             */
            deviceProof?: components["schemas"]["DeviceProof"];
            /**
             * @description Where staff have enrolled a second factor: the six digits that the authenticator app shows, or a recovery code. Without
             *     a factor it is ignored.
             */
            secondFactorCode?: components["schemas"]["SecondFactorCode"];
            /** @description Where staff have enrolled a second factor, a passkey of the account in place of the code. */
            secondFactorPasskey?: components["schemas"]["PasskeyProof"];
        };
        /** @description The refresh token of an app; a browser sends its cookie instead, and no body. */
        RefreshRequest: {
            refreshToken?: components["schemas"]["RefreshToken"];
        };
        /** @description The address of the account whose password is to be reset. */
        ForgotPasswordRequest: {
            email: components["schemas"]["Email"];
        };
        /** @description The token of the e-mail, and the new password. */
        ResetPasswordRequest: {
            token: components["schemas"]["EmailToken"];
            newPassword: components["schemas"]["Password"];
        };
        /** @description The token of the e-mail that verifies an address. */
        VerifyEmailRequest: {
            token: components["schemas"]["EmailToken"];
        };
        /** @description Devices that are logged in to the account. */
        DeviceList: {
            /** @description The device that was used last comes first; at most 100 are listed. */
            items: components["schemas"]["Device"][];
        };
        /** @description A device that is logged in. */
        Device: {
            deviceId: components["schemas"]["DeviceId"];
            platform: components["schemas"]["Platform"];
            /**
             * @description When the device logged in.
             * @example 2026-03-02T18:04:11.020Z
             */
            loggedInAt: components["schemas"]["Time"];
            /** @description When the device last logged in or refreshed its tokens. */
            lastUsedAt: components["schemas"]["Time"];
            /**
             * @description Whether it is the device of this request.
             * @example true
             */
            isCurrent: boolean;
        };
        /** @description Tokens of a login, and its account. */
        AuthTokens: {
            /**
             * @description A JWT (RS256) for the header `Authorization: Bearer` and for sockets. Other services verify it with the keys at
             *     `/.well-known/jwks.json`.
             * @example eyJhbGciOiJSUzI1NiIsImtpZCI6ImtleS12MSJ9.eyJzdWIiOiI3ZjhkZTJjNCJ9.Zm9yLXRoZS1leGFtcGxl
             */
            accessToken: string;
            /**
             * @description How the access token is sent (RFC 6750).
             * @enum {string}
             */
            tokenType: "Bearer";
            /**
             * Format: int32
             * @description Seconds until the access token expires; refresh it before.
             * @example 900
             */
            expiresInSeconds: number;
            /** @description The next refresh token, returned once; absent for `web`, which gets a cookie. */
            refreshToken?: components["schemas"]["RefreshToken"];
            deviceProof?: components["schemas"]["DeviceProof"];
            user: components["schemas"]["Account"];
        };
        /**
         * @description The six digits that the authenticator app shows, or a recovery code. Spaces, hyphens and the case of letters make no
         *     difference.
         * @example 492039
         */
        SecondFactorCode: string;
        /** @description State of the second factor of a staff account. */
        SecondFactor: {
            /**
             * @description Whether each login of the account needs a second factor, which is an authenticator app or a passkey.
             * @example true
             */
            isEnrolled: boolean;
            /**
             * @description Whether operations of administration need a login that has proven a second factor.
             * @example true
             */
            isRequired: boolean;
            /** @description When the authenticator app was confirmed; null without one. */
            enrolledAt: components["schemas"]["NullableTime"];
            /** @description When this login last proved the factor, as the access token says; null if it has not. */
            provenAt: components["schemas"]["NullableTime"];
            /**
             * Format: int32
             * @description The recovery codes that were not used.
             * @example 9
             */
            recoveryCodesLeft: number;
            /**
             * Format: int32
             * @description The passkeys of the account, each of which is a second factor.
             * @example 1
             */
            passkeyCount: number;
        };
        /** @description The password, and to replace a factor a code of it. */
        SecondFactorRequest: {
            /**
             * Format: password
             * @description The password of the account.
             * @example correct horse
             */
            password: string;
            code?: components["schemas"]["SecondFactorCode"];
        };
        /** @description A secret for an authenticator app, in three forms. */
        SecondFactorSecret: {
            /**
             * @description The secret in Base32, to be typed into an app.
             * @example JBSWY3DPEHPK3PXPJBSWY3DPEHPK3PXP
             */
            secret: string;
            /**
             * @description The secret with the names of the service and the account, for an app: `otpauth://totp/…`.
             * @example otpauth://totp/Parlance:ops%40example.com?secret=JBSWY3DPEHPK3PXPJBSWY3DPEHPK3PXP&issuer=Parlance
             */
            otpauthUri: string;
            /**
             * @description The rows of the QR code of `otpauthUri`, from the top: `1` is a dark module, `0` a light one. Draw it with a light margin of
             *     four modules.
             * @example [
             *       "111",
             *       "101",
             *       "111"
             *     ]
             */
            qrCode: string[];
            /** @description Until when it can be confirmed. */
            expiresAt: components["schemas"]["Time"];
        };
        /** @description A code. */
        SecondFactorProofRequest: {
            code: components["schemas"]["SecondFactorCode"];
        };
        /**
         * @description A code, or the answer of a passkey of the account; one of the two.
         * @example {
         *       "code": "492039"
         *     }
         */
        SecondFactorAnswer: {
            code?: components["schemas"]["SecondFactorCode"];
            passkey?: components["schemas"]["PasskeyProof"];
        };
        /** @description A new access token of the login. */
        SecondFactorProof: {
            /**
             * @description A JWT like the one of the login, with the time of the proof.
             * @example eyJhbGciOiJSUzI1NiIsImtpZCI6ImtleS12MSJ9.eyJzdWIiOiI3ZjhkZTJjNCJ9.Zm9yLXRoZS1leGFtcGxl
             */
            accessToken: string;
            /**
             * @description How the access token is sent (RFC 6750).
             * @enum {string}
             */
            tokenType: "Bearer";
            /**
             * Format: int32
             * @description Seconds until the access token expires; refresh it before.
             * @example 900
             */
            expiresInSeconds: number;
        };
        /** @description Recovery codes, and a new access token of the login. */
        SecondFactorConfirmation: {
            /**
             * @description A JWT like the one of the login, with the time of the proof.
             * @example eyJhbGciOiJSUzI1NiIsImtpZCI6ImtleS12MSJ9.eyJzdWIiOiI3ZjhkZTJjNCJ9.Zm9yLXRoZS1leGFtcGxl
             */
            accessToken: string;
            /**
             * @description How the access token is sent (RFC 6750).
             * @enum {string}
             */
            tokenType: "Bearer";
            /**
             * Format: int32
             * @description Seconds until the access token expires; refresh it before.
             * @example 900
             */
            expiresInSeconds: number;
            /**
             * @description Codes that are accepted instead of those of the app, once each. Keep them apart from it.
             * @example [
             *       "k7qm-2xwd-n4ra-6vte",
             *       "5bzu-h3jc-ysf2-pq7l"
             *     ]
             */
            recoveryCodes: string[];
        };
        /** @description The recovery codes of a second factor. */
        RecoveryCodes: {
            /**
             * @description Codes that are accepted instead of those of the app, once each. Keep them apart from it.
             * @example [
             *       "k7qm-2xwd-n4ra-6vte",
             *       "5bzu-h3jc-ysf2-pq7l"
             *     ]
             */
            recoveryCodes: string[];
        };
        /** @description The account of a login. Its profile is at `/users/me`. */
        Account: {
            id: components["schemas"]["UserId"];
            email: components["schemas"]["AccountEmail"];
            role: components["schemas"]["Role"];
            isVerified: components["schemas"]["IsVerified"];
        };
        /**
         * @description A level of English. Known values: `beginner`, `intermediate`, `advanced`.
         * @example intermediate
         */
        Level: string;
        /**
         * @description A level of English.
         * @example intermediate
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
        /**
         * @description Unique without regard to case: 3 to 30 letters, digits and `_`. A learner needs one, and an
         *     `englishLevel`, before the first call.
         * @example ada_lovelace
         */
        Username: string;
        /**
         * @description The name that partners see, one line (see `x-text`); null where the username is shown.
         * @example Ada
         */
        DisplayName: string | null;
        /**
         * Format: uri
         * @description Address of the picture, a WebP square of 400 pixels; null without one, and for others while it is under review or reports
         *     about its owner are open. A new picture has a new address.
         * @example https://files.example.com/avatars/7f8de2c4-6c0b-4b58-9a83-0a1c4c6ad1f0/1773480413589-9f2c41d7.webp
         */
        AvatarUrl: string | null;
        /**
         * @description What learners write about themselves, several lines (see `x-text`); null without it.
         * @example I teach mathematics in São Paulo and practise for a conference in June.
         */
        Bio: string | null;
        /**
         * @description The first language as a BCP 47 tag; null until chosen.
         * @example pt-BR
         */
        NativeLanguage: string | null;
        /**
         * @description The country as an ISO 3166-1 alpha-2 code; null until chosen.
         * @example BR
         */
        Country: string | null;
        /**
         * @description The IANA time zone by which streaks are counted and times are written; null stands for UTC.
         * @example America/Sao_Paulo
         */
        Timezone: string | null;
        /**
         * @description Whether partners see if the user is online or in a call; false until the user chooses so.
         * @example true
         */
        SharesPresence: boolean;
        /**
         * Format: int32
         * @description Minutes in calls, from when both had joined, over all time.
         * @example 412
         */
        TotalPracticeMinutes: number;
        /**
         * Format: int32
         * @description Calls that both have joined and that have ended, over all time.
         * @example 31
         */
        TotalCalls: number;
        /**
         * Format: int32
         * @description Consecutive days with a call, up to the day of the last one, in the learner's time zone. A client shows 0 where
         *     that day is before yesterday.
         * @example 7
         */
        StreakDays: number;
        /** @description The user's own account and profile. */
        Me: {
            id: components["schemas"]["UserId"];
            email: components["schemas"]["AccountEmail"];
            role: components["schemas"]["Role"];
            isVerified: components["schemas"]["IsVerified"];
            /** @description Null until chosen. */
            username: components["schemas"]["Username"] | null;
            displayName: components["schemas"]["DisplayName"];
            avatarUrl: components["schemas"]["AvatarUrl"];
            bio: components["schemas"]["Bio"];
            nativeLanguage: components["schemas"]["NativeLanguage"];
            /** @description The learner's own estimate of their English; null until chosen. */
            englishLevel: components["schemas"]["Level"] | null;
            /** @description What the learner practises for; null until chosen. */
            learningGoal: components["schemas"]["LearningGoal"] | null;
            country: components["schemas"]["Country"];
            timezone: components["schemas"]["Timezone"];
            sharesPresence: components["schemas"]["SharesPresence"];
            totalPracticeMinutes: components["schemas"]["TotalPracticeMinutes"];
            totalCalls: components["schemas"]["TotalCalls"];
            streakDays: components["schemas"]["StreakDays"];
            /**
             * @description When the last call ended that both had joined; null before the first.
             * @example 2026-03-14T09:39:41.755Z
             */
            lastCallAt: components["schemas"]["NullableTime"];
            /**
             * @description When the user last logged in or refreshed tokens; null before the first login.
             * @example 2026-03-14T09:20:10.004Z
             */
            lastActiveAt: components["schemas"]["NullableTime"];
            /**
             * @description When the account was created.
             * @example 2026-03-01T17:20:45.310Z
             */
            createdAt: components["schemas"]["Time"];
            /** @description The age band that is known of the user; null until it is set. */
            ageBand: components["schemas"]["AgeBand"] | null;
            /** @description What `find_partner` needs that the account lacks, in the order in which to ask the user for it. */
            missing: components["schemas"]["MissingStep"][];
        };
        /**
         * @description The code with which `find_partner` is refused without it. Known values: `email_unverified`, `age_required`, `too_young`, `terms_required`, `profile_incomplete`.
         * @example age_required
         */
        MissingStep: string;
        /**
         * @description Ages in years. Learners of different bands never meet. Known values: `under_13`, `13_15`, `16_17`, `18_plus`.
         * @example 18_plus
         */
        AgeBand: string;
        /**
         * @description Ages in years. Learners of different bands never meet.
         * @example 18_plus
         * @enum {string}
         */
        AgeBandInput: "under_13" | "13_15" | "16_17" | "18_plus";
        /**
         * Format: date
         * @description The date of birth. It is not stored; the age band that it shows is.
         * @example 1998-04-23
         */
        BirthDate: string;
        /** @description Either `birthDate`, or `ageBand` with its `source`. */
        AgeDeclaration: {
            birthDate?: components["schemas"]["BirthDate"];
            ageBand?: components["schemas"]["AgeBandInput"];
            /**
             * @description The platform that gave the app this band.
             * @example apple
             * @enum {string}
             */
            source?: "apple" | "google";
        };
        /** @description The documents with the user's consents. */
        ConsentList: {
            /** @description The documents, in the order in which they are shown. */
            items: components["schemas"]["Consent"][];
        };
        /** @description A document, and whether the user accepts it. */
        Consent: {
            document: components["schemas"]["DocumentName"];
            /**
             * @description The title of the document.
             * @example Terms of use
             */
            title: string;
            version: components["schemas"]["DocumentVersion"];
            /** @description The version that the user accepts; null without consent. Only that of `version` counts. */
            acceptedVersion: components["schemas"]["DocumentVersion"] | null;
            /** @description When the user consented to that version; null without consent. */
            acceptedAt: components["schemas"]["NullableTime"];
        };
        /** @description A document, and the version to which the user consents. */
        ConsentRequest: {
            document: components["schemas"]["DocumentName"];
            version: components["schemas"]["DocumentVersion"];
        };
        /**
         * @description The name of a document.
         * @example terms
         */
        DocumentName: string;
        /**
         * @description The version of a document.
         * @example 2026-12-01
         */
        DocumentVersion: string;
        /** @description Fields of the profile to change. An absent field keeps its value; null clears it. */
        MeUpdate: {
            username?: components["schemas"]["Username"];
            displayName?: components["schemas"]["DisplayName"] | null;
            bio?: components["schemas"]["Bio"] | null;
            nativeLanguage?: components["schemas"]["NativeLanguage"] | null;
            /** @description The learner's own estimate of their English; null until chosen. */
            englishLevel?: components["schemas"]["LevelInput"] | null;
            /** @description What the learner practises for; null until chosen. */
            learningGoal?: components["schemas"]["LearningGoalInput"] | null;
            country?: components["schemas"]["Country"] | null;
            timezone?: components["schemas"]["Timezone"] | null;
            sharesPresence?: components["schemas"]["SharesPresence"];
        };
        /**
         * @description The password, or another proof that the owner deletes the account; one of the two.
         * @example {
         *       "password": "correct horse"
         *     }
         */
        DeleteMeRequest: {
            password?: components["schemas"]["PresentPassword"];
            proof?: components["schemas"]["Proof"];
        };
        /**
         * Format: password
         * @description The user's present password.
         * @example correct horse
         */
        PresentPassword: string;
        /**
         * @description Shows that the owner of the account sends the request; exactly one of these. A code, a passkey's answer and an ID token
         *     work once, and stay unused where the request is refused for another reason.
         * @example {
         *       "password": "correct horse"
         *     }
         */
        Proof: {
            password?: components["schemas"]["PresentPassword"];
            emailCode?: components["schemas"]["EmailCodeProof"];
            passkey?: components["schemas"]["PasskeyProof"];
            idToken?: components["schemas"]["IdTokenProof"];
        };
        /** @description The code of an e-mail to the account's address. */
        EmailCodeProof: {
            challengeId: components["schemas"]["EmailChallengeId"];
            code: components["schemas"]["EmailCode"];
        };
        /**
         * Format: uuid
         * @description Of the response to who has requested the code; with another the code does not work.
         * @example 4e0b7c91-d2a8-4f63-9b15-c8d7e6f0a312
         */
        EmailChallengeId: string;
        /**
         * @description The six digits of the e-mail.
         * @example 492816
         */
        EmailCode: string;
        /** @description The answer of a passkey to a challenge. */
        PasskeyProof: {
            challengeToken: components["schemas"]["PasskeyChallengeToken"];
            credentialJson: components["schemas"]["PasskeyCredentialJson"];
        };
        /**
         * @description The `challengeToken` that came with the options.
         * @example eyJhbGciOiJSUzI1NiIsImtpZCI6ImtleS12MSJ9.eyJqdGkiOiI3ZjhkZTJjNCJ9.Zm9yLXRoZS1leGFtcGxl
         */
        PasskeyChallengeToken: string;
        /**
         * @description The credential as JSON text: `JSON.stringify(credential)` in a browser, the response JSON of Android's Credential Manager,
         *     and on iOS the fields of WebAuthn's `AuthenticationResponseJSON` or `RegistrationResponseJSON`.
         * @example {"id":"mUdU","rawId":"mUdU","type":"public-key","response":{}}
         */
        PasskeyCredentialJson: string;
        /** @description A challenge for an authenticator. */
        PasskeyChallenge: {
            challengeToken: components["schemas"]["PasskeyChallengeToken"];
            /**
             * @description The options as JSON text, in the form of WebAuthn's `PublicKeyCredentialRequestOptionsJSON` or
             *     `PublicKeyCredentialCreationOptionsJSON`: for `parseRequestOptionsFromJSON` and `parseCreationOptionsFromJSON` of a
             *     browser's `PublicKeyCredential`, and for Android's Credential Manager.
             * @example {"challenge":"mUdU","rpId":"app.example.com","userVerification":"required"}
             */
            optionsJson: string;
            /** @description Until when it can be answered. */
            expiresAt: components["schemas"]["Time"];
        };
        /** @description The answer of a passkey, and the device to log in. */
        PasskeyLoginRequest: {
            challengeToken: components["schemas"]["PasskeyChallengeToken"];
            credentialJson: components["schemas"]["PasskeyCredentialJson"];
            deviceId: components["schemas"]["DeviceId"];
            platform: components["schemas"]["PlatformInput"];
        };
        /** @description A proof that the owner of the account adds a passkey. */
        PasskeyRegistrationRequest: {
            proof: components["schemas"]["Proof"];
        };
        /** @description A new passkey, and what its owner calls it. */
        PasskeyRegistration: {
            challengeToken: components["schemas"]["PasskeyChallengeToken"];
            credentialJson: components["schemas"]["PasskeyCredentialJson"];
            name: components["schemas"]["PasskeyName"];
        };
        /**
         * Format: uuid
         * @description Id of a passkey.
         * @example 5f0d3c1e-7a52-4c8e-9b1d-2f6a4e8c7d90
         */
        PasskeyId: string;
        /**
         * @description What the owner calls the passkey, to recognise it in a list.
         * @example Phone
         */
        PasskeyName: string;
        /** @description A passkey of an account. */
        Passkey: {
            id: components["schemas"]["PasskeyId"];
            name: components["schemas"]["PasskeyName"];
            createdAt: components["schemas"]["Time"];
            /** @description When it was last used; null if it never was. */
            lastUsedAt: components["schemas"]["NullableTime"];
            /**
             * @description Whether a password manager keeps it on several devices, as its last answer said.
             * @example true
             */
            isSynced: boolean;
        };
        /** @description A change of the address that its earlier address can undo. */
        UndoableEmailChange: {
            /** @description The earlier address. */
            oldEmail: components["schemas"]["Email"];
            /** @description When the address was changed. */
            changedAt: components["schemas"]["Time"];
            /** @description Until when the link in the mail works. */
            undoUntil: components["schemas"]["Time"];
        };
        /** @description The new password, and a proof that the owner sets it. */
        PasswordChangeRequest: {
            newPassword: components["schemas"]["Password"];
            proof: components["schemas"]["Proof"];
        };
        /** @description The new address, and a proof that the owner changes it. */
        EmailChangeRequest: {
            newEmail: components["schemas"]["Email"];
            proof: components["schemas"]["Proof"];
        };
        /** @description The code that went to the new address. */
        EmailChangeConfirmation: {
            challengeId: components["schemas"]["EmailChallengeId"];
            code: components["schemas"]["EmailCode"];
        };
        /** @description The token of the mail to the old address. */
        EmailChangeUndoRequest: {
            token: components["schemas"]["EmailToken"];
        };
        /** @description A new ID token of an identity that is linked to the account, issued within the last ten minutes. */
        IdTokenProof: {
            provider: components["schemas"]["IdentityProviderId"];
            idToken: components["schemas"]["IdToken"];
            nonce: components["schemas"]["IdTokenNonce"];
        };
        /**
         * @description `google`, `apple` or another that `GET /auth/methods` lists.
         * @example google
         */
        IdentityProviderId: string;
        /**
         * @description The ID token (OpenID Connect Core 1.0, 2) that the provider's SDK has returned, a JWT.
         * @example eyJhbGciOiJSUzI1NiIsImtpZCI6ImtleS12MSJ9.eyJzdWIiOiI3ZjhkZTJjNCJ9.Zm9yLXRoZS1leGFtcGxl
         */
        IdToken: string;
        /**
         * @description The random text that the client has made for this token, before any hashing. The token's claim `nonce` has it as it is or,
         *     from Apple, its SHA-256 in hexadecimal; a token without the claim is refused.
         * @example 9f2c4e7a1b8d4f60a3c5e7092b6d8f14
         */
        IdTokenNonce: string;
        /** @description An ID token with the nonce that it was requested with, and the device to log in. */
        IdTokenLoginRequest: {
            provider: components["schemas"]["IdentityProviderId"];
            idToken: components["schemas"]["IdToken"];
            nonce: components["schemas"]["IdTokenNonce"];
            authorizationCode?: components["schemas"]["ProviderCode"];
            grant?: components["schemas"]["IdentityGrant"];
            /** @description Of the account with the token's address, after a response of `password_required`. */
            password?: components["schemas"]["PresentPassword"];
            /** @description As at `POST /auth/login`. */
            secondFactorCode?: components["schemas"]["SecondFactorCode"];
            /** @description Where staff have enrolled a second factor, a passkey of the account in place of the code. */
            secondFactorPasskey?: components["schemas"]["PasskeyProof"];
            deviceId: components["schemas"]["DeviceId"];
            platform: components["schemas"]["PlatformInput"];
        };
        /** @description An ID token of the identity to link, and a proof of the account. */
        IdentityRequest: {
            provider: components["schemas"]["IdentityProviderId"];
            idToken: components["schemas"]["IdToken"];
            nonce: components["schemas"]["IdTokenNonce"];
            authorizationCode?: components["schemas"]["ProviderCode"];
            grant?: components["schemas"]["IdentityGrant"];
            proof: components["schemas"]["Proof"];
        };
        /**
         * @description `authorizationCode` of Apple's SDK. With it the account's authorization at Apple can be revoked when the account is deleted;
         *     the codes of other providers are ignored.
         * @example c6a0b8f3e1d24c7f9.0.mrzzy.Zm9yLXRoZS1leGFtcGxl
         */
        ProviderCode: string;
        /**
         * @description The `grant` of `POST /auth/authorization/token`, where that has one, in place of `authorizationCode`.
         * @example eyJhbGciOiJSUzI1NiIsImtpZCI6ImtleS12MSJ9.eyJncmFudCI6ImZvci10aGUtZXhhbXBsZSJ9.Zm9yLXRoZS1leGFtcGxl
         */
        IdentityGrant: string;
        /** @description Ways to log in that this installation offers. */
        LoginMethods: {
            /**
             * @description Whether passwords log in: always.
             * @example true
             */
            password: boolean;
            /**
             * @description Whether codes by e-mail log in.
             * @example true
             */
            emailCode: boolean;
            passkeys: components["schemas"]["PasskeyOffer"];
            /** @description Identity providers, in the order in which to show them. */
            providers: components["schemas"]["ProviderOffer"][];
        };
        /** @description Whether passkeys log in, and the domain that they are of. */
        PasskeyOffer: {
            /**
             * @description Whether passkeys log in.
             * @example true
             */
            isOffered: boolean;
            /**
             * @description The relying party's id (WebAuthn), with which apps are associated; null where passkeys are not offered.
             * @example parlance.example
             */
            rpId: string | null;
        };
        /** @description An identity provider. */
        ProviderOffer: {
            provider: components["schemas"]["IdentityProviderId"];
            /**
             * @description The provider's name for people.
             * @example Google
             */
            name: string;
            /**
             * @description Whether `POST /auth/authorization` works with it.
             * @example true
             */
            hasWebFlow: boolean;
            clientIds: components["schemas"]["ProviderClientIds"];
        };
        /** @description Clients that the provider's ID tokens may be issued to, by platform. */
        ProviderClientIds: {
            /** @description Of iOS apps. */
            ios: components["schemas"]["ProviderClientId"][];
            /** @description Of Android apps. */
            android: components["schemas"]["ProviderClientId"][];
            /** @description Of web pages. */
            web: components["schemas"]["ProviderClientId"][];
        };
        /**
         * @description A client id at the provider.
         * @example app.parlance.ios
         */
        ProviderClientId: string;
        /** @description The address to mail a code to. */
        EmailCodeRequest: {
            email: components["schemas"]["Email"];
            deviceId?: components["schemas"]["DeviceId"];
            /** @description The newest `deviceProof` of the device that `deviceId` names, which it had from an earlier login. */
            deviceProof?: components["schemas"]["DeviceProof"];
        };
        /** @description The requested code's challenge. It is stored by who requested the code, and shown to nobody. */
        EmailChallenge: {
            challengeId: components["schemas"]["EmailChallengeId"];
            /**
             * Format: int32
             * @description How long the code works.
             * @example 600
             */
            expiresInSeconds: number;
        };
        /** @description A code by e-mail, and the device to log in. */
        EmailCodeLoginRequest: {
            challengeId: components["schemas"]["EmailChallengeId"];
            email: components["schemas"]["Email"];
            code: components["schemas"]["EmailCode"];
            deviceId: components["schemas"]["DeviceId"];
            platform: components["schemas"]["PlatformInput"];
            /**
             * @description The newest `deviceProof` of this device. With it the device's wrong codes are counted separately.
             *     An expired one, or one of another account or device, is ignored.
             */
            deviceProof?: components["schemas"]["DeviceProof"];
            /**
             * @description Where staff have enrolled a second factor: the six digits that the authenticator app shows, or a recovery code. Without
             *     a factor it is ignored.
             */
            secondFactorCode?: components["schemas"]["SecondFactorCode"];
            /** @description Where staff have enrolled a second factor, a passkey of the account in place of the code. */
            secondFactorPasskey?: components["schemas"]["PasskeyProof"];
        };
        /** @description Ways to log in to an account. */
        MyLoginMethods: {
            email: components["schemas"]["Email"];
            /**
             * @description Whether the address is verified.
             * @example true
             */
            isVerified: boolean;
            /**
             * @description Whether the account has a password.
             * @example true
             */
            hasPassword: boolean;
            /** @description Linked identities, the oldest first. */
            identities: components["schemas"]["Identity"][];
            /** @description Passkeys, the oldest first. */
            passkeys: components["schemas"]["Passkey"][];
            /** @description The newest change of the address that its earlier address can undo; null without one. */
            undoableEmailChange: components["schemas"]["UndoableEmailChange"] | null;
        };
        /** @description An identity that logs in to the account. */
        Identity: {
            id: components["schemas"]["Id"];
            provider: components["schemas"]["IdentityProviderId"];
            /**
             * @description The address in its last ID token, by which the owner recognises it; it need not be the account's.
             * @example ada@example.com
             */
            email: string | null;
            /**
             * @description When it was linked.
             * @example 2026-03-02T18:04:11.020Z
             */
            createdAt: components["schemas"]["Time"];
            /**
             * @description When it last logged in; null if it never did.
             * @example 2026-03-09T07:30:00.000Z
             */
            lastUsedAt: components["schemas"]["NullableTime"];
        };
        /** @description The provider to log in at. */
        AuthorizationRequest: {
            /** @description One with `hasWebFlow` of `GET /auth/methods`. */
            provider: components["schemas"]["IdentityProviderId"];
        };
        /** @description Where the browser goes on. */
        Authorization: {
            /**
             * Format: uri
             * @description The provider's page, with the parameters of this login.
             * @example https://accounts.google.com/o/oauth2/v2/auth?response_type=code&client_id=web.example
             */
            authorizationUrl: string;
        };
        /** @description The parameters of the provider's redirect. */
        AuthorizationCodeRequest: {
            /**
             * @description The authorization code.
             * @example 4/0AX4XfWjYz
             */
            code: string;
            /**
             * @description The state, which is that of the cookie.
             * @example 0mG1x3y2fP8sQv5nT7kLw9aBcDeFgHiJkLmNoPqRsTu
             */
            state: string;
        };
        /** @description What a login or a link takes. */
        AuthorizationTokens: {
            provider: components["schemas"]["IdentityProviderId"];
            idToken: components["schemas"]["IdToken"];
            nonce: components["schemas"]["IdTokenNonce"];
            grant?: components["schemas"]["IdentityGrant"];
        };
        /** @description A form with one file. */
        AvatarUpload: {
            /**
             * Format: binary
             * @description A picture: JPEG, PNG or WebP of 25 megapixels at most.
             */
            file: string;
        };
        /** @description The picture of the user's profile. */
        Avatar: {
            /**
             * @description Whether the picture waits for review; its owner sees it, others do not yet.
             * @example false
             */
            isUnderReview: boolean;
            /**
             * Format: uri
             * @description Address of the new picture, a WebP square of 400 pixels.
             * @example https://files.example.com/avatars/7f8de2c4-6c0b-4b58-9a83-0a1c4c6ad1f0/1773480413589-9f2c41d7.webp
             */
            avatarUrl: string;
        };
        /** @description What any learner sees of another. */
        PublicProfile: {
            id: components["schemas"]["UserId"];
            /** @description Null until chosen. */
            username: components["schemas"]["Username"] | null;
            displayName: components["schemas"]["DisplayName"];
            avatarUrl: components["schemas"]["AvatarUrl"];
            bio: components["schemas"]["Bio"];
            nativeLanguage: components["schemas"]["NativeLanguage"];
            /** @description The learner's own estimate of their English; null until chosen. */
            englishLevel: components["schemas"]["Level"] | null;
            /** @description What the learner practises for; null until chosen. */
            learningGoal: components["schemas"]["LearningGoal"] | null;
            country: components["schemas"]["Country"];
            totalPracticeMinutes: components["schemas"]["TotalPracticeMinutes"];
            totalCalls: components["schemas"]["TotalCalls"];
            streakDays: components["schemas"]["StreakDays"];
        };
        /** @description A learner whom the user has blocked. The two are never matched. */
        Block: {
            /**
             * @description Id of the blocked learner.
             * @example c5d20e97-8b3f-4a61-b0d4-3f7e9a1c6582
             */
            userId: components["schemas"]["UserId"];
            /**
             * @description Null if never chosen.
             * @example zoe_k
             */
            username: components["schemas"]["Username"] | null;
            /** @example Zoe */
            displayName: components["schemas"]["DisplayName"];
            /** @example https://files.example.com/avatars/c5d20e97-8b3f-4a61-b0d4-3f7e9a1c6582/1772910005120-51c0be3a.webp */
            avatarUrl: components["schemas"]["AvatarUrl"];
            /** @description When the user blocked the learner. */
            blockedAt: components["schemas"]["Time"];
        };
        /** @description A page of blocks, the newest first. */
        BlockPage: {
            /** @description The blocks of this page. */
            items: components["schemas"]["Block"][];
            nextCursor: components["schemas"]["NextCursor"];
        };
        /** @description All data of one person. Other people appear by id only. */
        DataExport: {
            /** @description When the data was read. */
            exportedAt: components["schemas"]["Time"];
            me: components["schemas"]["Me"];
            /** @description What is known of the user's age; null before it is set. */
            age: components["schemas"]["ExportedAge"] | null;
            /** @description Consents that the user has given and withdrawn, the oldest first. */
            consents: components["schemas"]["ExportedConsent"][];
            /** @description Refresh tokens, also expired and revoked ones. */
            logins: components["schemas"]["ExportedLogin"][];
            /** @description Calls of the user, also matches that never became a call. */
            calls: components["schemas"]["ExportedCall"][];
            /**
             * @description The skill by which partners are chosen, as it was when this UTC day began; null where no feedback had moved it by
             *     then. Nobody else sees it.
             */
            skill: components["schemas"]["ExportedSkill"] | null;
            /** @description How the user keeps matches; null without a match that counts. Nobody else sees it. */
            pairingRecord: components["schemas"]["ExportedPairingRecord"] | null;
            /** @description Ratings that the user has given. */
            ratings: components["schemas"]["ExportedRating"][];
            /** @description Reports that the user has made. */
            reports: components["schemas"]["Report"][];
            /** @description Learners whom the user has blocked. */
            blocks: components["schemas"]["ExportedBlock"][];
            /** @description Learners with whom the user has asked for partnership. */
            partnerWishes: components["schemas"]["ExportedPartnerWish"][];
            /** @description Appointments that the user has proposed, or that were proposed to the user. */
            appointments: components["schemas"]["ExportedAppointment"][];
            /** @description Invitations to calls that the user has sent or received, and that are not pruned yet. */
            invitations: components["schemas"]["ExportedInvitation"][];
            /** @description Orders of the user, also unpaid ones. */
            orders: components["schemas"]["Order"][];
            /** @description Refunds of these orders. */
            refunds: components["schemas"]["Refund"][];
            /** @description Disputes about these orders. */
            disputes: components["schemas"]["ExportedDispute"][];
            /** @description Courses in which the user is enrolled. */
            enrollments: components["schemas"]["ExportedEnrollment"][];
            /** @description Progress in each lesson that the user has begun. */
            progress: components["schemas"]["LessonProgress"][];
            /** @description Notifications that are not pruned yet. */
            notifications: components["schemas"]["Notification"][];
            /** @description Devices that get pushes. */
            pushDevices: components["schemas"]["ExportedPushDevice"][];
            /** @description Sanctions of the account with their appeals, as the user reads them. */
            sanctions: components["schemas"]["Sanction"][];
            /** @description Linked identities. */
            identities: components["schemas"]["ExportedIdentity"][];
            /** @description Passkeys, without their keys. */
            passkeys: components["schemas"]["Passkey"][];
            /** @description Changes of the address that are kept until they can no longer be undone. */
            emailChanges: components["schemas"]["ExportedEmailChange"][];
        };
        /** @description An identity at a provider. */
        ExportedIdentity: {
            provider: components["schemas"]["IdentityProviderId"];
            /**
             * @description The provider's id of the user.
             * @example 110169484474386276334
             */
            subject: string;
            /**
             * @description The address at the provider; null where it shares none.
             * @example ada@example.com
             */
            email: string | null;
            /** @description When it was linked. */
            createdAt: components["schemas"]["Time"];
            /** @description When it last logged in; null if it has not. */
            lastUsedAt: components["schemas"]["NullableTime"];
        };
        /** @description A change of the account's address. */
        ExportedEmailChange: {
            /** @description The earlier address. */
            oldEmail: components["schemas"]["Email"];
            /** @description The later address. */
            newEmail: components["schemas"]["Email"];
            /** @description When the address was changed. */
            changedAt: components["schemas"]["Time"];
        };
        /** @description What is known of the user's age. */
        ExportedAge: {
            ageBand: components["schemas"]["AgeBand"];
            /**
             * @description Who said so. Known values: `declared`, `apple`, `google`, `operator`.
             * @example declared
             */
            source: string;
            /** @description When it was set. */
            setAt: components["schemas"]["Time"];
        };
        /** @description A consent to a document, or its withdrawal. */
        ExportedConsent: {
            document: components["schemas"]["DocumentName"];
            version: components["schemas"]["DocumentVersion"];
            /**
             * @description What the user did. Known values: `given`, `withdrawn`.
             * @example given
             */
            action: string;
            /** @description When the user did it. */
            at: components["schemas"]["Time"];
        };
        /** @description A claim of the bank against the payment of an order. */
        ExportedDispute: {
            id: components["schemas"]["DisputeId"];
            orderId: components["schemas"]["OrderId"];
            /** @description The disputed amount, in the smallest unit of the currency. */
            amount: components["schemas"]["Money"];
            currency: components["schemas"]["Currency"];
            status: components["schemas"]["DisputeStatus"];
            /**
             * @description The bank's reason, a word of the payment provider; null if it gave none.
             * @example product_not_received
             */
            reason: string | null;
            /**
             * @description When the payment provider first reported the dispute.
             * @example 2026-03-20T11:02:19.441Z
             */
            createdAt: components["schemas"]["Time"];
        };
        /**
         * @description The state of a dispute; `won` is in favour of the platform. Known values: `open`, `won`, `lost`.
         * @example won
         */
        DisputeStatus: string;
        /** @description A refresh token of a login; each refresh makes one. */
        ExportedLogin: {
            deviceId: components["schemas"]["DeviceId"];
            platform: components["schemas"]["Platform"];
            /**
             * @description When it was issued.
             * @example 2026-03-02T18:04:11.020Z
             */
            createdAt: components["schemas"]["Time"];
            /**
             * @description When it expires.
             * @example 2026-04-01T18:04:11.020Z
             */
            expiresAt: components["schemas"]["Time"];
            /**
             * @description When it was revoked, as by a logout; null if it was not.
             * @example null
             */
            revokedAt: components["schemas"]["NullableTime"];
        };
        /**
         * @description An estimate of the user's English, from feedback about the pace of calls, by the end of the day before: feedback of
         *     one partner cannot be read the moment it is given.
         */
        ExportedSkill: {
            /**
             * @description The estimate: 25 is the middle, and a declared level is six apart from the next.
             * @example 26.4
             */
            mean: number;
            /**
             * @description Its standard deviation; 25 / 3 before any feedback.
             * @example 5.1
             */
            deviation: number;
            /**
             * Format: int32
             * @description Counted feedback, given and received.
             * @example 12
             */
            calls: number;
            /**
             * Format: date
             * @description The UTC day at whose beginning it was so.
             * @example 2026-12-01
             */
            day: string;
        };
        /** @description Points for matches that the user declined, did not join or left within a minute. */
        ExportedPairingRecord: {
            /**
             * @description Points at `pointsAt`; they halve in two days.
             * @example 0.5
             */
            points: number;
            /** @description When the last match was counted. */
            pointsAt: components["schemas"]["Time"];
            /** @description When the user was last warned. */
            warnedAt: components["schemas"]["NullableTime"];
            /** @description The end of the last rest. */
            restingUntil: components["schemas"]["NullableTime"];
            /**
             * Format: int32
             * @description Rests that are not forgiven yet.
             * @example 0
             */
            rests: number;
        };
        /** @description A call of the user, or a match that never became one. */
        ExportedCall: {
            id: components["schemas"]["CallId"];
            /**
             * @description Id of the partner.
             * @example 9d3f6c1a-2b7e-4a55-8c1d-5e8a7b9c0d12
             */
            partnerId: components["schemas"]["UserId"];
            /**
             * @description The topic that the learners searched with; null without one.
             * @example Travel
             */
            topic: string | null;
            level: components["schemas"]["CallLevel"];
            /** @description When the learners were matched. */
            startedAt: components["schemas"]["Time"];
            /**
             * @description When both had joined; null for a match that never became a call.
             * @example 2026-03-14T09:26:56.102Z
             */
            connectedAt: components["schemas"]["NullableTime"];
            /**
             * @description When the call ended; null while it lasts.
             * @example 2026-03-14T09:39:41.755Z
             */
            endedAt: components["schemas"]["NullableTime"];
            /**
             * @description How the user kept the match; `forgiven`: left within a minute, because of a partner whom the user has blocked or
             *     reported; null where there is nothing to count. Known values: `good`, `declined`, `not_joined`, `left_early`, `forgiven`.
             */
            outcome: string | null;
            /**
             * Format: int32
             * @description Whole seconds from `connectedAt` to `endedAt`; 0 for a match that never became a call, null while it lasts.
             * @example 765
             */
            durationSeconds: number | null;
        };
        /** @description A rating that the user has given. */
        ExportedRating: {
            sessionId: components["schemas"]["CallId"];
            /**
             * @description Id of the rated partner.
             * @example 9d3f6c1a-2b7e-4a55-8c1d-5e8a7b9c0d12
             */
            ratedId: components["schemas"]["UserId"];
            stars: components["schemas"]["Stars"];
            /** @description The feedback about the pace; null without one. Known values: `easier`, `same`, `harder`. */
            pace: string | null;
            /**
             * @description When the user rated the partner.
             * @example 2026-03-14T09:40:02.218Z
             */
            createdAt: components["schemas"]["Time"];
        };
        /** @description A learner with whom the user has asked for partnership. Whether that learner has asked too is not shown. */
        ExportedPartnerWish: {
            /**
             * @description Id of the partner.
             * @example 9d3f6c1a-2b7e-4a55-8c1d-5e8a7b9c0d12
             */
            userId: components["schemas"]["UserId"];
            /** @description When the user asked. */
            askedAt: components["schemas"]["Time"];
        };
        /** @description An appointment of the user. */
        ExportedAppointment: {
            id: components["schemas"]["AppointmentId"];
            /**
             * @description Id of the partner.
             * @example 9d3f6c1a-2b7e-4a55-8c1d-5e8a7b9c0d12
             */
            partnerId: components["schemas"]["UserId"];
            /**
             * @description Whether the user has proposed it.
             * @example true
             */
            isProposer: boolean;
            /**
             * @description When it begins.
             * @example 2026-12-01T21:00:00.000Z
             */
            startsAt: components["schemas"]["Time"];
            localTime: components["schemas"]["LocalTime"];
            timezone: components["schemas"]["ZoneName"];
            durationMinutes: components["schemas"]["AppointmentMinutes"];
            /** @description What the proposer has written; null without a note. */
            note: components["schemas"]["AppointmentNote"] | null;
            state: components["schemas"]["AppointmentState"];
            /** @description When it was proposed. */
            createdAt: components["schemas"]["Time"];
            /** @description When it was accepted or declined; null before. */
            answeredAt: components["schemas"]["NullableTime"];
        };
        /** @description An invitation of a partner to a call. */
        ExportedInvitation: {
            /**
             * Format: uuid
             * @description Id of the invitation.
             * @example 6f0d2b7c-51a9-4e0e-9f63-8a4c2d1b7e95
             */
            id: string;
            /**
             * @description Id of the partner.
             * @example 9d3f6c1a-2b7e-4a55-8c1d-5e8a7b9c0d12
             */
            partnerId: components["schemas"]["UserId"];
            /**
             * @description Whether the user has sent it.
             * @example true
             */
            isInviter: boolean;
            /**
             * @description What the inviter would talk about; null without a topic.
             * @example travel
             */
            topic: string | null;
            /** @description How it ended; `open` before. Known values: `open`, `accepted`, `declined`, `cancelled`, `expired`. */
            state: string;
            /** @description When it was sent. */
            createdAt: components["schemas"]["Time"];
            /** @description Until when it could be answered. */
            expiresAt: components["schemas"]["Time"];
            /** @description When it ended; null before. */
            endedAt: components["schemas"]["NullableTime"];
        };
        /** @description A learner whom the user has blocked. */
        ExportedBlock: {
            /**
             * @description Id of the blocked learner.
             * @example c5d20e97-8b3f-4a61-b0d4-3f7e9a1c6582
             */
            userId: components["schemas"]["UserId"];
            /** @description When the user blocked the learner. */
            blockedAt: components["schemas"]["Time"];
        };
        /**
         * Format: int32
         * @description A rating from 1, the worst, to 5.
         * @example 5
         */
        Stars: number;
        /** @description A rating of the partner of a call. */
        Rating: {
            stars: components["schemas"]["Stars"];
            pace?: components["schemas"]["FeedbackPace"];
        };
        /**
         * @description How the partner's English compares with the rater's: `easier` to follow or less advanced, the `same`, or `harder`.
         *     After a call of at least a minute it moves the skill of both, which the matcher compares; once in seven days for
         *     a partner, and a skill by a bounded amount in a day. Nobody is shown who said what.
         * @enum {string}
         */
        FeedbackPace: "easier" | "same" | "harder";
        /**
         * @description What a learner is reported for. `minor_safety`: a danger to a child, or a learner who seems to be too young;
         *     `threat`: a threat of violence. These two are urgent. Known values: `harassment`, `spam`, `inappropriate`, `hate_speech`, `other`, `minor_safety`, `threat`.
         */
        ReportReason: string;
        /**
         * @description What a learner is reported for. `minor_safety`: a danger to a child, or a learner who seems to be too young;
         *     `threat`: a threat of violence. These two are urgent.
         * @enum {string}
         */
        ReportReasonInput: "harassment" | "spam" | "inappropriate" | "hate_speech" | "other" | "minor_safety" | "threat";
        /**
         * @description `pending` until an administrator reviews the report; `actioned` if that led to a ban or another measure,
         *     `dismissed` if the report was unfounded, `reviewed` otherwise.
         */
        ReportStatus: string;
        /**
         * @description `pending` until an administrator reviews the report; `actioned` if that led to a ban or another measure,
         *     `dismissed` if the report was unfounded, `reviewed` otherwise.
         * @enum {string}
         */
        ReportStatusInput: "pending" | "reviewed" | "actioned" | "dismissed";
        /**
         * @description `acted`: the report led to a measure; `no_action`: it did not.
         * @example acted
         */
        ReportOutcome: string;
        /**
         * @description Several lines, see `x-text`.
         * @example Kept shouting at me after I asked to talk about another topic.
         */
        Comment: string;
        /** @description A report of a learner to the operators. */
        ReportRequest: {
            /**
             * @description Id of the reported learner.
             * @example c5d20e97-8b3f-4a61-b0d4-3f7e9a1c6582
             */
            reportedId: components["schemas"]["UserId"];
            /** @description The call that the report is about; absent for a report without one. */
            sessionId?: components["schemas"]["CallId"];
            reason: components["schemas"]["ReportReasonInput"];
            /** @description What happened, in the reporter's words, several lines (see `x-text`). */
            description?: components["schemas"]["Comment"];
            /**
             * @description Whether the reported learner is blocked too, as `PUT /users/{userId}/block` does.
             * @example true
             */
            isBlocked?: boolean;
        };
        /** @description A report, as its reporter sees it. */
        Report: {
            id: components["schemas"]["ReportId"];
            /**
             * @description Id of the reported learner.
             * @example c5d20e97-8b3f-4a61-b0d4-3f7e9a1c6582
             */
            reportedId: components["schemas"]["UserId"];
            /** @description The call that the report is about; null for a report without one. */
            sessionId: components["schemas"]["CallId"] | null;
            reason: components["schemas"]["ReportReason"];
            /** @description What happened, in the reporter's words; null without them. */
            description: components["schemas"]["Comment"] | null;
            /** @description `pending`, or `reviewed` once a decision was made. */
            status: components["schemas"]["ReportStatus"];
            /**
             * @description Whether we acted on the report; null while it is pending. What was done is not shown.
             * @example acted
             */
            outcome: components["schemas"]["ReportOutcome"] | null;
            /**
             * @description When the report was made.
             * @example 2026-03-14T09:41:30.006Z
             */
            createdAt: components["schemas"]["Time"];
        };
        /** @description A page of the user's reports, the newest first. */
        ReportPage: {
            /** @description The reports of this page. */
            items: components["schemas"]["Report"][];
            nextCursor: components["schemas"]["NextCursor"];
        };
        /** @description A report, as administrators see it. */
        AdminReport: {
            id: components["schemas"]["ReportId"];
            /** @description Id of the reporter. */
            reporterId: components["schemas"]["UserId"];
            /**
             * @description Id of the reported learner.
             * @example c5d20e97-8b3f-4a61-b0d4-3f7e9a1c6582
             */
            reportedId: components["schemas"]["UserId"];
            /** @description The call that the report is about; null for a report without one. */
            sessionId: components["schemas"]["CallId"] | null;
            reason: components["schemas"]["ReportReason"];
            /** @description What happened, in the reporter's words; null without them. */
            description: components["schemas"]["Comment"] | null;
            /** @example actioned */
            status: components["schemas"]["ReportStatus"];
            /**
             * @description Note of the administrators, which learners never see; null without one.
             * @example Two earlier reports of the same kind.
             */
            adminNote: components["schemas"]["Comment"] | null;
            /**
             * @description When the status first became `actioned`; null before.
             * @example 2026-03-15T08:12:44.870Z
             */
            actionedAt: components["schemas"]["NullableTime"];
            /**
             * @description When the report was made.
             * @example 2026-03-14T09:41:30.006Z
             */
            createdAt: components["schemas"]["Time"];
            /**
             * @description Whether the reason is urgent.
             * @example false
             */
            isUrgent: boolean;
            /**
             * @description How much the report counts, by the length of its call and the reporter's earlier reports; while it is pending.
             * @example 0.8
             */
            weight: number;
            /**
             * @description The place of the reported learner in the review queue, by all their pending reports and the share of partners who
             *     report; 100 is added where a report holds their pairing.
             * @example 0.42
             */
            rank: number;
            /**
             * @description Until when it should be reviewed.
             * @example 2026-03-17T09:41:30.006Z
             */
            dueAt: components["schemas"]["Time"];
            /**
             * @description When it was reviewed; null while it is pending, and for reviews before this field existed.
             * @example 2026-03-15T08:12:44.870Z
             */
            decidedAt: components["schemas"]["NullableTime"];
            /**
             * @description Whether the reporter blocked the learner with the report.
             * @example true
             */
            isBlocked: boolean;
            /**
             * Format: int32
             * @description How long the call had been connected at the report; null where it never was.
             * @example 312
             */
            callSeconds: number | null;
            about: components["schemas"]["ReportCounts"];
        };
        /** @description Reports of the reported learner by all reporters, this one included. */
        ReportCounts: {
            /**
             * Format: int32
             * @description Reports to review.
             * @example 2
             */
            pending: number;
            /**
             * Format: int32
             * @description Reports that led to a measure.
             * @example 1
             */
            actioned: number;
            /**
             * Format: int32
             * @description Reports reviewed without a measure.
             * @example 0
             */
            reviewed: number;
            /**
             * Format: int32
             * @description Unfounded reports.
             * @example 0
             */
            dismissed: number;
            /**
             * @description Until when the reported learner is not paired because of an urgent report; null without a hold.
             * @example 2026-03-15T09:00:00.000Z
             */
            heldUntil: components["schemas"]["NullableTime"];
        };
        /** @description Pending reports of the whole deployment. */
        ReportQueueCounts: {
            /**
             * Format: int32
             * @description Pending reports.
             * @example 4
             */
            open: number;
            /**
             * Format: int32
             * @description Those with an urgent reason.
             * @example 1
             */
            urgent: number;
            /**
             * Format: int32
             * @description Those whose `dueAt` has passed.
             * @example 0
             */
            overdue: number;
        };
        /** @description A page of reports, the newest first or in the order of the review queue. */
        AdminReportPage: {
            /** @description The reports of this page. */
            items: components["schemas"]["AdminReport"][];
            nextCursor: components["schemas"]["NextCursor"];
            counts: components["schemas"]["ReportQueueCounts"];
        };
        /** @description The outcome of a review. An absent field keeps its value. */
        ReportReview: {
            /**
             * @description The new status; with `isBanned` it is `actioned` in any case.
             * @example actioned
             */
            status?: components["schemas"]["ReportStatusInput"];
            /**
             * @description Note of the administrators, several lines (see `x-text`); with `isBanned` the reason of the ban too.
             * @example Two earlier reports of the same kind.
             */
            adminNote?: components["schemas"]["Comment"];
            /**
             * @description Whether the reported learner is banned too.
             * @example true
             */
            isBanned?: boolean;
            sanction?: components["schemas"]["ReportSanction"];
        };
        /**
         * @description Why a picture waits for review. `screen`: the screen did not decide; `reports`: open reports about the learner weigh enough.
         * @example reports
         */
        PictureCause: string;
        /**
         * Format: uri
         * @description Address of the picture, a WebP square of 400 pixels. A new picture has a new address.
         * @example https://files.example.com/avatars/7f8de2c4-6c0b-4b58-9a83-0a1c4c6ad1f0/1773480413589-9f2c41d7.webp
         */
        PictureUrl: string;
        /** @description A picture that waits for review, and the learner whose profile has it. */
        AdminPicture: {
            userId: components["schemas"]["UserId"];
            /** @description Null until chosen. */
            username: components["schemas"]["Username"] | null;
            displayName: components["schemas"]["DisplayName"];
            avatarUrl: components["schemas"]["PictureUrl"];
            /**
             * @description Why it waits.
             * @example [
             *       "reports"
             *     ]
             */
            causes: components["schemas"]["PictureCause"][];
            /**
             * Format: int32
             * @description Open reports about the learner, of reasons that may concern the picture, since the last review of a picture of theirs.
             * @example 2
             */
            reports: number;
            /**
             * @description What these reports weigh together; reporters who belong together count once.
             * @example 1.6
             */
            weight: number;
            /**
             * @description Since when others do not see it.
             * @example 2026-03-14T10:41:30.006Z
             */
            waitingSince: components["schemas"]["Time"];
            /**
             * @description When a picture of this learner, an earlier one or this, was last reviewed; null before.
             * @example 2026-03-02T08:12:44.870Z
             */
            reviewedAt: components["schemas"]["NullableTime"];
            /**
             * @description Note of that review, which learners never see; null without one.
             * @example A film star, but nothing against the rules.
             */
            reviewNote: components["schemas"]["Comment"] | null;
        };
        /** @description A page of pictures, those that wait longest first. */
        AdminPicturePage: {
            /** @description The pictures of this page. */
            items: components["schemas"]["AdminPicture"][];
            nextCursor: components["schemas"]["NextCursor"];
        };
        /**
         * @description `keep`: others see the picture; `remove`: it is deleted.
         * @example keep
         * @enum {string}
         */
        PictureOutcome: "keep" | "remove";
        /** @description The decision about a picture. */
        PictureDecision: {
            /** @description Address of the reviewed picture. */
            avatarUrl: components["schemas"]["PictureUrl"];
            outcome: components["schemas"]["PictureOutcome"];
            /**
             * @description Note for staff, several lines (see `x-text`); it replaces that of an earlier review.
             * @example A film star, but nothing against the rules.
             */
            note?: components["schemas"]["Comment"];
        };
        /**
         * @description Why the account is banned, several lines (see `x-text`). Administrators see it, the user does not.
         * @example Insulted three partners.
         */
        BanReason: string;
        /** @description A ban of an account. */
        BanRequest: {
            reason: components["schemas"]["BanReason"];
        };
        /**
         * @description The beginning of an e-mail address, a username or (from 8 characters on) an id, in any case.
         * @example ada
         */
        Search: string;
        /** @description The number of rows of a table. */
        ApproximateCount: {
            /**
             * Format: int64
             * @description The number of rows.
             * @example 18452
             */
            count: number;
            /**
             * @description Whether the rows were counted, as in a small table; else the number is the database's estimate.
             * @example true
             */
            isExact: boolean;
        };
        /** @description Numbers of the dashboard, at most five seconds old. Days and hours are those of UTC. */
        AdminStats: {
            /** @description When the numbers were computed. */
            computedAt: components["schemas"]["Time"];
            totals: components["schemas"]["AdminTotals"];
            /**
             * Format: int64
             * @description Accounts with a login or refresh since midnight.
             * @example 1204
             */
            activeToday: number;
            /**
             * Format: int64
             * @description Accounts created since midnight.
             * @example 37
             */
            newToday: number;
            /**
             * Format: int64
             * @description Pending reports.
             * @example 4
             */
            openReports: number;
            /**
             * Format: int64
             * @description Accounts whose pending reports weigh enough for a flag.
             * @example 1
             */
            flaggedUsers: number;
            /**
             * Format: int64
             * @description Disputes of payments that are not decided.
             * @example 0
             */
            openDisputes: number;
            appeals: components["schemas"]["AdminAppealCounts"];
            live: components["schemas"]["AdminLiveCounts"];
            wait: components["schemas"]["AdminQueueWait"];
            /**
             * @description The last 24 hours, the current one last.
             * @example [
             *       {
             *         "since": "2026-03-13T10:00:00.000Z",
             *         "matches": 131
             *       },
             *       {
             *         "since": "2026-03-13T11:00:00.000Z",
             *         "matches": 140
             *       },
             *       {
             *         "since": "2026-03-13T12:00:00.000Z",
             *         "matches": 122
             *       },
             *       {
             *         "since": "2026-03-13T13:00:00.000Z",
             *         "matches": 118
             *       },
             *       {
             *         "since": "2026-03-13T14:00:00.000Z",
             *         "matches": 156
             *       },
             *       {
             *         "since": "2026-03-13T15:00:00.000Z",
             *         "matches": 171
             *       },
             *       {
             *         "since": "2026-03-13T16:00:00.000Z",
             *         "matches": 190
             *       },
             *       {
             *         "since": "2026-03-13T17:00:00.000Z",
             *         "matches": 224
             *       },
             *       {
             *         "since": "2026-03-13T18:00:00.000Z",
             *         "matches": 262
             *       },
             *       {
             *         "since": "2026-03-13T19:00:00.000Z",
             *         "matches": 281
             *       },
             *       {
             *         "since": "2026-03-13T20:00:00.000Z",
             *         "matches": 240
             *       },
             *       {
             *         "since": "2026-03-13T21:00:00.000Z",
             *         "matches": 180
             *       },
             *       {
             *         "since": "2026-03-13T22:00:00.000Z",
             *         "matches": 96
             *       },
             *       {
             *         "since": "2026-03-13T23:00:00.000Z",
             *         "matches": 41
             *       },
             *       {
             *         "since": "2026-03-14T00:00:00.000Z",
             *         "matches": 22
             *       },
             *       {
             *         "since": "2026-03-14T01:00:00.000Z",
             *         "matches": 14
             *       },
             *       {
             *         "since": "2026-03-14T02:00:00.000Z",
             *         "matches": 9
             *       },
             *       {
             *         "since": "2026-03-14T03:00:00.000Z",
             *         "matches": 6
             *       },
             *       {
             *         "since": "2026-03-14T04:00:00.000Z",
             *         "matches": 8
             *       },
             *       {
             *         "since": "2026-03-14T05:00:00.000Z",
             *         "matches": 15
             *       },
             *       {
             *         "since": "2026-03-14T06:00:00.000Z",
             *         "matches": 44
             *       },
             *       {
             *         "since": "2026-03-14T07:00:00.000Z",
             *         "matches": 79
             *       },
             *       {
             *         "since": "2026-03-14T08:00:00.000Z",
             *         "matches": 120
             *       },
             *       {
             *         "since": "2026-03-14T09:00:00.000Z",
             *         "matches": 188
             *       }
             *     ]
             */
            hours: components["schemas"]["AdminHour"][];
            /**
             * @description The last 30 days, today last.
             * @example [
             *       {
             *         "day": "2026-02-13",
             *         "matches": 2041,
             *         "calls": 2002,
             *         "callMinutes": 24129
             *       },
             *       {
             *         "day": "2026-02-14",
             *         "matches": 2205,
             *         "calls": 2155,
             *         "callMinutes": 26018
             *       },
             *       {
             *         "day": "2026-02-15",
             *         "matches": 1892,
             *         "calls": 1868,
             *         "callMinutes": 22436
             *       },
             *       {
             *         "day": "2026-02-16",
             *         "matches": 2211,
             *         "calls": 2156,
             *         "callMinutes": 26168
             *       },
             *       {
             *         "day": "2026-02-17",
             *         "matches": 1860,
             *         "calls": 1826,
             *         "callMinutes": 22444
             *       },
             *       {
             *         "day": "2026-02-18",
             *         "matches": 2349,
             *         "calls": 2306,
             *         "callMinutes": 27955
             *       },
             *       {
             *         "day": "2026-02-19",
             *         "matches": 1976,
             *         "calls": 1950,
             *         "callMinutes": 23668
             *       },
             *       {
             *         "day": "2026-02-20",
             *         "matches": 2019,
             *         "calls": 1998,
             *         "callMinutes": 24824
             *       },
             *       {
             *         "day": "2026-02-21",
             *         "matches": 2066,
             *         "calls": 2029,
             *         "callMinutes": 24546
             *       },
             *       {
             *         "day": "2026-02-22",
             *         "matches": 1968,
             *         "calls": 1929,
             *         "callMinutes": 23444
             *       },
             *       {
             *         "day": "2026-02-23",
             *         "matches": 2181,
             *         "calls": 2156,
             *         "callMinutes": 26737
             *       },
             *       {
             *         "day": "2026-02-24",
             *         "matches": 2145,
             *         "calls": 2083,
             *         "callMinutes": 25393
             *       },
             *       {
             *         "day": "2026-02-25",
             *         "matches": 2318,
             *         "calls": 2283,
             *         "callMinutes": 27578
             *       },
             *       {
             *         "day": "2026-02-26",
             *         "matches": 2053,
             *         "calls": 2003,
             *         "callMinutes": 24322
             *       },
             *       {
             *         "day": "2026-02-27",
             *         "matches": 1891,
             *         "calls": 1836,
             *         "callMinutes": 22892
             *       },
             *       {
             *         "day": "2026-02-28",
             *         "matches": 2107,
             *         "calls": 2087,
             *         "callMinutes": 25342
             *       },
             *       {
             *         "day": "2026-03-01",
             *         "matches": 2386,
             *         "calls": 2321,
             *         "callMinutes": 28171
             *       },
             *       {
             *         "day": "2026-03-02",
             *         "matches": 2320,
             *         "calls": 2288,
             *         "callMinutes": 27879
             *       },
             *       {
             *         "day": "2026-03-03",
             *         "matches": 2233,
             *         "calls": 2175,
             *         "callMinutes": 26395
             *       },
             *       {
             *         "day": "2026-03-04",
             *         "matches": 2241,
             *         "calls": 2193,
             *         "callMinutes": 26481
             *       },
             *       {
             *         "day": "2026-03-05",
             *         "matches": 2038,
             *         "calls": 1999,
             *         "callMinutes": 24253
             *       },
             *       {
             *         "day": "2026-03-06",
             *         "matches": 1844,
             *         "calls": 1819,
             *         "callMinutes": 21875
             *       },
             *       {
             *         "day": "2026-03-07",
             *         "matches": 2273,
             *         "calls": 2213,
             *         "callMinutes": 26843
             *       },
             *       {
             *         "day": "2026-03-08",
             *         "matches": 2331,
             *         "calls": 2277,
             *         "callMinutes": 27987
             *       },
             *       {
             *         "day": "2026-03-09",
             *         "matches": 2282,
             *         "calls": 2218,
             *         "callMinutes": 26967
             *       },
             *       {
             *         "day": "2026-03-10",
             *         "matches": 1948,
             *         "calls": 1885,
             *         "callMinutes": 22820
             *       },
             *       {
             *         "day": "2026-03-11",
             *         "matches": 1868,
             *         "calls": 1822,
             *         "callMinutes": 22071
             *       },
             *       {
             *         "day": "2026-03-12",
             *         "matches": 2251,
             *         "calls": 2214,
             *         "callMinutes": 26756
             *       },
             *       {
             *         "day": "2026-03-13",
             *         "matches": 2164,
             *         "calls": 2117,
             *         "callMinutes": 26168
             *       },
             *       {
             *         "day": "2026-03-14",
             *         "matches": 1391,
             *         "calls": 1334,
             *         "callMinutes": 16336
             *       }
             *     ]
             */
            days: components["schemas"]["AdminDay"][];
            /** @description Payments and refunds of the last 30 days, one entry for each currency and mode (`isLive`). */
            revenue: components["schemas"]["AdminRevenue"][];
        };
        /** @description Totals of all time, including deleted accounts and matches without a call. */
        AdminTotals: {
            /** @description Accounts, also deleted ones. */
            users: components["schemas"]["ApproximateCount"];
            /** @description Matches, also those without a call. */
            calls: components["schemas"]["ApproximateCount"];
            /** @description Courses, also unpublished ones. */
            courses: components["schemas"]["ApproximateCount"];
            /** @description Orders, also unpaid ones. */
            orders: components["schemas"]["ApproximateCount"];
        };
        /** @description Searches, rooms and calls at this moment. */
        AdminLiveCounts: {
            /**
             * Format: int64
             * @description Learners in the queue; null while Redis is unavailable.
             * @example 12
             */
            searches: number | null;
            /**
             * Format: int64
             * @description Matches that have not ended.
             * @example 86
             */
            rooms: number;
            /**
             * Format: int64
             * @description Rooms that both have joined.
             * @example 84
             */
            calls: number;
        };
        /** @description Waits of the learner in the queue, over the matches of the last 60 minutes. */
        AdminQueueWait: {
            /**
             * Format: double
             * @description The median in seconds; null without a match.
             * @example 3.218
             */
            medianSeconds: number | null;
            /**
             * Format: int64
             * @description The number of waits.
             * @example 195
             */
            matches: number;
        };
        /** @description Matches of an hour. */
        AdminHour: {
            /**
             * @description The beginning of the hour.
             * @example 2026-03-14T09:00:00.000Z
             */
            since: components["schemas"]["Time"];
            /**
             * Format: int64
             * @description The number of matches.
             * @example 188
             */
            matches: number;
        };
        /** @description Matches and calls of a day. */
        AdminDay: {
            /**
             * Format: date
             * @description A day of UTC.
             * @example 2026-03-14
             */
            day: string;
            /**
             * Format: int64
             * @description The number of matches.
             * @example 2210
             */
            matches: number;
            /**
             * Format: int64
             * @description Matches that both have joined.
             * @example 2164
             */
            calls: number;
            /**
             * Format: int64
             * @description Total length of the calls that have ended, in minutes, rounded down.
             * @example 27330
             */
            callMinutes: number;
        };
        /** @description Payments and refunds in one currency. */
        AdminRevenue: {
            currency: components["schemas"]["Currency"];
            /**
             * @description Whether it is real money; false for a provider's test mode.
             * @example true
             */
            isLive: boolean;
            /**
             * Format: int64
             * @description Orders that were paid.
             * @example 41
             */
            orders: number;
            /**
             * Format: int64
             * @description Sum of these payments, in the smallest unit of the currency.
             * @example 2045900
             */
            amount: number;
            /**
             * Format: int64
             * @description Refunds that succeeded, of any order.
             * @example 2
             */
            refunds: number;
            /**
             * Format: int64
             * @description Sum of these refunds, in the smallest unit of the currency.
             * @example 99800
             */
            amountRefunded: number;
        };
        /**
         * @description `warning` restricts nothing; `suspension` keeps the account out until its end, `ban` until it is lifted.
         * @example suspension
         */
        SanctionKind: string;
        /**
         * @description `warning` restricts nothing; `suspension` keeps the account out until its end, `ban` until it is lifted.
         * @example suspension
         * @enum {string}
         */
        SanctionKindInput: "warning" | "suspension" | "ban";
        /**
         * @description What a sanction is for. Known values: `harassment`, `spam`, `inappropriate`, `hate_speech`, `minor_safety`, `threat`, `underage`, `fraud`, `other`.
         * @example harassment
         */
        SanctionGround: string;
        /**
         * @description What a sanction is for.
         * @example harassment
         * @enum {string}
         */
        SanctionGroundInput: "harassment" | "spam" | "inappropriate" | "hate_speech" | "minor_safety" | "threat" | "underage" | "fraud" | "other";
        /**
         * @description What the account did, several lines (see `x-text`). The learner reads it: it names nobody, and nothing by which the
         *     learner could recognize who has reported them.
         * @example In two calls of 14 March you went on shouting at partners who had asked you to stop.
         */
        SanctionFacts: string;
        /**
         * Format: int32
         * @description Days until the suspension ends; for a suspension alone, which needs it.
         * @example 7
         */
        SuspensionDays: number;
        /** @description The sanction to issue. */
        SanctionRequest: {
            kind: components["schemas"]["SanctionKindInput"];
            ground: components["schemas"]["SanctionGroundInput"];
            facts: components["schemas"]["SanctionFacts"];
            days?: components["schemas"]["SuspensionDays"];
            /** @description Id of the report that led to it. */
            reportId?: components["schemas"]["ReportId"];
        };
        /** @description The sanction that a review issues. */
        ReportSanction: {
            kind: components["schemas"]["SanctionKindInput"];
            /** @description The ground; absent it is the report's reason. */
            ground?: components["schemas"]["SanctionGroundInput"];
            facts: components["schemas"]["SanctionFacts"];
            days?: components["schemas"]["SuspensionDays"];
        };
        /** @description Why a sanction is lifted. */
        LiftRequest: {
            reason: components["schemas"]["DecisionReason"];
        };
        /**
         * @description The reason, which the learner reads, several lines (see `x-text`).
         * @example The recording of events shows that another learner was meant.
         */
        DecisionReason: string;
        /** @description A sanction, as the learner reads it. */
        Sanction: {
            id: components["schemas"]["SanctionId"];
            kind: components["schemas"]["SanctionKind"];
            ground: components["schemas"]["SanctionGround"];
            /**
             * @description What the account did; null where no text was written for the learner.
             * @example In two calls of 14 March you went on shouting at partners who had asked you to stop.
             */
            facts: string | null;
            /**
             * @description When it was issued.
             * @example 2026-03-15T08:12:44.870Z
             */
            startsAt: components["schemas"]["Time"];
            /**
             * @description When the suspension ends; null for other kinds.
             * @example 2026-03-22T08:12:44.870Z
             */
            endsAt: components["schemas"]["NullableTime"];
            /**
             * @description Until when an appeal is possible.
             * @example 2026-09-15T08:12:44.870Z
             */
            appealUntil: components["schemas"]["Time"];
            /**
             * @description Whether an appeal is possible now.
             * @example false
             */
            isAppealable: boolean;
            /**
             * @description When it was lifted; null otherwise.
             * @example null
             */
            liftedAt: components["schemas"]["NullableTime"];
            /**
             * @description When the learner confirmed that they have read a warning; null before, and for other kinds.
             * @example null
             */
            acknowledgedAt: components["schemas"]["NullableTime"];
            /** @description The appeal against it; null without one. */
            appeal: components["schemas"]["Appeal"] | null;
        };
        /** @description The sanction that a login was refused for. */
        SanctionInForce: {
            id: components["schemas"]["SanctionId"];
            kind: components["schemas"]["SanctionKind"];
            ground: components["schemas"]["SanctionGround"];
            /**
             * @description What the account did; null where no text was written for the learner.
             * @example In two calls of 14 March you went on shouting at partners who had asked you to stop.
             */
            facts: string | null;
            /**
             * @description When it was issued.
             * @example 2026-03-15T08:12:44.870Z
             */
            startsAt: components["schemas"]["Time"];
            /**
             * @description When the suspension ends; null for other kinds.
             * @example 2026-03-22T08:12:44.870Z
             */
            endsAt: components["schemas"]["NullableTime"];
            /**
             * @description Until when an appeal is possible.
             * @example 2026-09-15T08:12:44.870Z
             */
            appealUntil: components["schemas"]["Time"];
            /**
             * @description Whether an appeal is possible now.
             * @example false
             */
            isAppealable: boolean;
            /**
             * @description When it was lifted; null otherwise.
             * @example null
             */
            liftedAt: components["schemas"]["NullableTime"];
            /**
             * @description When the learner confirmed that they have read a warning; null before, and for other kinds.
             * @example null
             */
            acknowledgedAt: components["schemas"]["NullableTime"];
            /** @description The appeal against it; null without one. */
            appeal: components["schemas"]["Appeal"] | null;
            /**
             * @description The `token` for an appeal. It works once, and until the next refused login; null where no appeal is possible,
             *     as after one.
             * @example null
             */
            appealToken: string | null;
        };
        /** @description A page of the user's sanctions, the newest first. */
        SanctionPage: {
            /** @description The sanctions of this page. */
            items: components["schemas"]["Sanction"][];
            nextCursor: components["schemas"]["NextCursor"];
        };
        /** @description A sanction, as administrators see it. */
        AdminSanction: {
            id: components["schemas"]["SanctionId"];
            kind: components["schemas"]["SanctionKind"];
            ground: components["schemas"]["SanctionGround"];
            /**
             * @description When it was issued.
             * @example 2026-03-15T08:12:44.870Z
             */
            startsAt: components["schemas"]["Time"];
            /**
             * @description When the suspension ends; null for other kinds.
             * @example 2026-03-22T08:12:44.870Z
             */
            endsAt: components["schemas"]["NullableTime"];
            /**
             * @description Until when an appeal is possible.
             * @example 2026-09-15T08:12:44.870Z
             */
            appealUntil: components["schemas"]["Time"];
            /**
             * @description Whether an appeal is possible now.
             * @example false
             */
            isAppealable: boolean;
            /**
             * @description When it was lifted; null otherwise.
             * @example 2026-03-17T09:40:02.118Z
             */
            liftedAt: components["schemas"]["NullableTime"];
            /**
             * @description When the learner confirmed that they have read a warning; null before, and for other kinds.
             * @example null
             */
            acknowledgedAt: components["schemas"]["NullableTime"];
            /**
             * @description The appeal against it; null without one.
             * @example {
             *       "id": "90d7e3f2-1b6c-4a58-8e04-c5a9f7b3d261",
             *       "text": "That was my brother, who used my phone.",
             *       "status": "overturned",
             *       "createdAt": "2026-03-16T10:02:11.402Z",
             *       "decidedAt": "2026-03-17T09:40:02.118Z",
             *       "decisionReason": "The recording of events shows that another learner was meant."
             *     }
             */
            appeal: components["schemas"]["Appeal"] | null;
            /** @description Id of the sanctioned account. */
            userId: components["schemas"]["UserId"];
            /**
             * @description What the account did; null after the account was deleted.
             * @example Insulted three partners.
             */
            facts: string | null;
            /**
             * @description Whether the facts are the internal reason of a ban, which the learner does not read.
             * @example false
             */
            isInternal: boolean;
            /**
             * @description Id of the administrator who issued it; null for an operator at the command line.
             * @example f2e85b10-6d4c-49a7-8e13-a0b9c7d5f362
             */
            issuedBy: components["schemas"]["UserId"] | null;
            /** @description The report that led to it; null without one. */
            reportId: components["schemas"]["ReportId"] | null;
            /**
             * @description Id of the administrator who lifted it; null where nobody has, or an operator at the command line.
             * @example 0b6f4e2d-7a91-4c38-95d2-1e8c3a70b64f
             */
            liftedBy: components["schemas"]["UserId"] | null;
            /**
             * @description Why it was lifted; null otherwise.
             * @example The recording of events shows that another learner was meant.
             */
            liftReason: string | null;
        };
        /** @description A page of sanctions, the newest first. */
        AdminSanctionPage: {
            /** @description The sanctions of this page. */
            items: components["schemas"]["AdminSanction"][];
            nextCursor: components["schemas"]["NextCursor"];
        };
        /**
         * @description `open` until it is decided; `upheld` if the sanction stays, `overturned` if it is lifted for the appeal; `closed`
         *     if the sanction was lifted or the account deleted before a decision.
         * @example open
         */
        AppealStatus: string;
        /**
         * @description `open` until it is decided; `upheld` if the sanction stays, `overturned` if it is lifted for the appeal; `closed`
         *     if the sanction was lifted or the account deleted before a decision.
         * @example open
         * @enum {string}
         */
        AppealStatusInput: "open" | "upheld" | "overturned" | "closed";
        /**
         * @description `upheld`: the sanction stays; `overturned`: it is lifted.
         * @example overturned
         * @enum {string}
         */
        AppealOutcome: "upheld" | "overturned";
        /**
         * @description Why the sanction is wrong, in the learner's words, several lines (see `x-text`).
         * @example That was my brother, who used my phone. I was not at home that evening.
         */
        AppealWords: string;
        /** @description An appeal. */
        AppealText: {
            text: components["schemas"]["AppealWords"];
        };
        /** @description An appeal, and the token that permits it. */
        AppealRequest: {
            token: components["schemas"]["AppealToken"];
            text: components["schemas"]["AppealWords"];
        };
        /** @description The token of a sanction. */
        AppealTokenRequest: {
            token: components["schemas"]["AppealToken"];
        };
        /**
         * @description The `token` of the link in the e-mail, or `appealToken` of the refused login.
         * @example V2hhdC1hLWxvdmVseS1kYXktdG8tcHJhY3Rpc2U
         */
        AppealToken: string;
        /** @description An appeal, as the learner sees it. */
        Appeal: {
            id: components["schemas"]["AppealId"];
            /**
             * @description The learner's words; null after the account was deleted.
             * @example That was my brother, who used my phone.
             */
            text: string | null;
            status: components["schemas"]["AppealStatus"];
            /**
             * @description When it was submitted.
             * @example 2026-03-16T10:02:11.402Z
             */
            createdAt: components["schemas"]["Time"];
            /**
             * @description When it was decided or closed; null before.
             * @example null
             */
            decidedAt: components["schemas"]["NullableTime"];
            /**
             * @description The reason of the decision; null before.
             * @example null
             */
            decisionReason: string | null;
        };
        /** @description An appeal with its sanction, as administrators see it. */
        AdminAppeal: {
            id: components["schemas"]["AppealId"];
            /**
             * @description The learner's words; null after the account was deleted.
             * @example That was my brother, who used my phone.
             */
            text: string | null;
            /**
             * @description Its state.
             * @example overturned
             */
            status: components["schemas"]["AppealStatus"];
            /**
             * @description When it was submitted.
             * @example 2026-03-16T10:02:11.402Z
             */
            createdAt: components["schemas"]["Time"];
            /**
             * @description When it was decided or closed; null before.
             * @example 2026-03-17T09:40:02.118Z
             */
            decidedAt: components["schemas"]["NullableTime"];
            /**
             * @description The reason of the decision; null before.
             * @example The recording of events shows that another learner was meant.
             */
            decisionReason: string | null;
            /**
             * @description Id of the administrator who decided; null before, and for an operator at the command line.
             * @example 0b6f4e2d-7a91-4c38-95d2-1e8c3a70b64f
             */
            decidedBy: components["schemas"]["UserId"] | null;
            displayName: components["schemas"]["DisplayName"];
            sanction: components["schemas"]["AdminSanction"];
        };
        /** @description A page of appeals, the newest first. */
        AdminAppealPage: {
            /** @description The appeals of this page. */
            items: components["schemas"]["AdminAppeal"][];
            nextCursor: components["schemas"]["NextCursor"];
        };
        /** @description The decision about an appeal, and why. */
        AppealDecision: {
            outcome: components["schemas"]["AppealOutcome"];
            reason: components["schemas"]["DecisionReason"];
        };
        /** @description Open appeals, and the decisions of the last 30 days. */
        AdminAppealCounts: {
            /**
             * Format: int64
             * @description Appeals that wait for a decision.
             * @example 2
             */
            open: number;
            /**
             * Format: int64
             * @description Appeals that were rejected.
             * @example 9
             */
            upheld: number;
            /**
             * Format: int64
             * @description Appeals for which the sanction was lifted.
             * @example 3
             */
            overturned: number;
        };
        /** @description An account, as administrators see it in lists. */
        AdminUser: {
            id: components["schemas"]["UserId"];
            email: components["schemas"]["AccountEmail"];
            /** @description Null until chosen. */
            username: components["schemas"]["Username"] | null;
            displayName: components["schemas"]["DisplayName"];
            avatarUrl: components["schemas"]["AvatarUrl"];
            role: components["schemas"]["Role"];
            isVerified: components["schemas"]["IsVerified"];
            /**
             * @description Whether the account is banned.
             * @example false
             */
            isBanned: boolean;
            /**
             * @description When the suspension ends, or the last one has ended; null without one, and after it was lifted.
             * @example null
             */
            suspendedUntil: components["schemas"]["NullableTime"];
            /**
             * @description When the pending reports of this account weighed enough for a flag; null before, and after their review.
             * @example null
             */
            flaggedAt: components["schemas"]["NullableTime"];
            totalPracticeMinutes: components["schemas"]["TotalPracticeMinutes"];
            totalCalls: components["schemas"]["TotalCalls"];
            /**
             * @description When the user last logged in or refreshed tokens; null before the first login.
             * @example 2026-03-14T09:20:10.004Z
             */
            lastActiveAt: components["schemas"]["NullableTime"];
            /**
             * @description When the account was created.
             * @example 2026-03-01T17:20:45.310Z
             */
            createdAt: components["schemas"]["Time"];
        };
        /** @description A page of accounts, the newest first. */
        AdminUserPage: {
            /** @description The accounts of this page. */
            items: components["schemas"]["AdminUser"][];
            nextCursor: components["schemas"]["NextCursor"];
        };
        /** @description An account with its latest activity and moderation. A deleted account has no personal data. */
        AdminUserDetail: {
            id: components["schemas"]["UserId"];
            email: components["schemas"]["AccountEmail"];
            /** @description Null until chosen. */
            username: components["schemas"]["Username"] | null;
            displayName: components["schemas"]["DisplayName"];
            avatarUrl: components["schemas"]["AvatarUrl"];
            role: components["schemas"]["Role"];
            isVerified: components["schemas"]["IsVerified"];
            /**
             * @description Whether the account is banned.
             * @example false
             */
            isBanned: boolean;
            /**
             * @description When the suspension ends, or the last one has ended; null without one, and after it was lifted.
             * @example null
             */
            suspendedUntil: components["schemas"]["NullableTime"];
            /**
             * @description When the pending reports of this account weighed enough for a flag; null before, and after their review.
             * @example null
             */
            flaggedAt: components["schemas"]["NullableTime"];
            totalPracticeMinutes: components["schemas"]["TotalPracticeMinutes"];
            totalCalls: components["schemas"]["TotalCalls"];
            /**
             * @description When the user last logged in or refreshed tokens; null before the first login.
             * @example 2026-03-14T09:20:10.004Z
             */
            lastActiveAt: components["schemas"]["NullableTime"];
            /**
             * @description When the account was created.
             * @example 2026-03-01T17:20:45.310Z
             */
            createdAt: components["schemas"]["Time"];
            bio: components["schemas"]["Bio"];
            nativeLanguage: components["schemas"]["NativeLanguage"];
            /** @description The learner's own estimate of their English; null until chosen. */
            englishLevel: components["schemas"]["Level"] | null;
            /** @description What the learner practises for; null until chosen. */
            learningGoal: components["schemas"]["LearningGoal"] | null;
            country: components["schemas"]["Country"];
            timezone: components["schemas"]["Timezone"];
            streakDays: components["schemas"]["StreakDays"];
            /**
             * @description When the last call ended that both had joined; null before the first.
             * @example 2026-03-14T09:39:41.755Z
             */
            lastCallAt: components["schemas"]["NullableTime"];
            /**
             * @description Why the account is banned; null if it is not.
             * @example null
             */
            banReason: string | null;
            /**
             * @description When the account was banned; null if it is not.
             * @example null
             */
            bannedAt: components["schemas"]["NullableTime"];
            /**
             * Format: uuid
             * @description Id of the administrator; null without a ban, or for one from the command line.
             * @example null
             */
            bannedBy: string | null;
            /**
             * @description When the user deleted the account; null if it is not deleted.
             * @example null
             */
            deletedAt: components["schemas"]["NullableTime"];
            /** @description The last ten calls; `endedBy` and `myRating` are those of this account. */
            calls: components["schemas"]["Call"][];
            /**
             * @description The last ten reports of this account.
             * @example []
             */
            reportsAbout: components["schemas"]["AdminReport"][];
            /** @description The last ten reports that this account has made. */
            reportsBy: components["schemas"]["AdminReport"][];
            /** @description The last ten orders; none for moderators. */
            orders: components["schemas"]["AdminOrder"][];
            /**
             * @description The last hundred bans and unbans, the newest first.
             * @example []
             */
            bans: components["schemas"]["AuditEntry"][];
        };
        /** @description An account of staff. */
        StaffAccount: {
            id: components["schemas"]["UserId"];
            email: components["schemas"]["AccountEmail"];
            role: components["schemas"]["Role"];
            /**
             * @description Whether its logins need a second factor.
             * @example true
             */
            isSecondFactorEnrolled: boolean;
            /**
             * Format: int32
             * @description The logins that have not ended.
             * @example 2
             */
            logins: number;
            /** @description When one of these logins last logged in or refreshed its tokens; null without one. */
            lastUsedAt: components["schemas"]["NullableTime"];
            /**
             * @description When the account was created.
             * @example 2026-03-01T17:20:45.310Z
             */
            createdAt: components["schemas"]["Time"];
        };
        /** @description A page of accounts of staff, the newest first. */
        StaffPage: {
            /** @description The accounts of this page. */
            items: components["schemas"]["StaffAccount"][];
            nextCursor: components["schemas"]["NextCursor"];
        };
        /** @description Logins of a staff account. */
        StaffLoginList: {
            /** @description The login that was used last comes first; at most 100 are listed. */
            items: components["schemas"]["StaffLogin"][];
        };
        /** @description A login that has not ended. */
        StaffLogin: {
            /**
             * Format: uuid
             * @description Id of the login, `sid` in its access tokens.
             * @example 3c9e2a71-5f84-4d06-b1e7-a8d05c6f9b23
             */
            id: string;
            deviceId: components["schemas"]["DeviceId"];
            platform: components["schemas"]["Platform"];
            /**
             * @description When the device logged in.
             * @example 2026-03-02T18:04:11.020Z
             */
            loggedInAt: components["schemas"]["Time"];
            /** @description When the device last logged in or refreshed its tokens. */
            lastUsedAt: components["schemas"]["Time"];
            /** @description When this login last proved the second factor; null if it has not. */
            factorProvenAt: components["schemas"]["NullableTime"];
            /**
             * @description Whether it is the login of this request.
             * @example false
             */
            isCurrent: boolean;
        };
        /**
         * @description What was done, the kind of its object and a verb.
         * @example user.ban
         */
        AuditAction: string;
        /** @description An entry of the audit log, which is never changed or deleted. */
        AuditEntry: {
            /**
             * Format: int64
             * @description Number of the entry, from 1 without gaps.
             * @example 218
             */
            number: number;
            /**
             * @description When it was done.
             * @example 2026-03-15T08:12:44.870Z
             */
            createdAt: components["schemas"]["Time"];
            /**
             * @description Id of the administrator; null for an operator at the command line.
             * @example f2e85b10-6d4c-49a7-8e13-a0b9c7d5f362
             */
            actorId: components["schemas"]["UserId"] | null;
            action: components["schemas"]["AuditAction"];
            /**
             * @description Id of the object that the action changed; null for an action without one.
             * @example c5d20e97-8b3f-4a61-b0d4-3f7e9a1c6582
             */
            targetId: components["schemas"]["Id"] | null;
            /**
             * @description Further values, which depend on the action, without personal data.
             * @example {}
             */
            details: {
                [key: string]: unknown;
            };
            /**
             * @description SHA-256 in hexadecimal over this entry and the hash of the one before.
             * @example 9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08
             */
            hash: string;
        };
        /** @description A page of the audit log, the newest entry first. */
        AuditEntryPage: {
            /** @description The entries of this page. */
            items: components["schemas"]["AuditEntry"][];
            /** @example 218 */
            nextCursor: components["schemas"]["NextCursor"];
        };
        /**
         * @description The level of a conversation; `all` is any level. Known values: `all`, `beginner`, `intermediate`, `advanced`.
         * @example intermediate
         */
        CallLevel: string;
        /** @description The partner of a call, as the learner sees them. */
        Partner: {
            /**
             * @description Id of the partner.
             * @example 9d3f6c1a-2b7e-4a55-8c1d-5e8a7b9c0d12
             */
            userId: components["schemas"]["UserId"];
            /**
             * @description The display name, else the username; `Former learner` for a deleted account.
             * @example Ben
             */
            displayName: string;
            /** @example https://files.example.com/avatars/9d3f6c1a-2b7e-4a55-8c1d-5e8a7b9c0d12/1772611200450-0d4e8a2b.webp */
            avatarUrl: components["schemas"]["AvatarUrl"];
            /** @description The partner's level of English; null for a deleted account. */
            level: components["schemas"]["Level"] | null;
        };
        /** @description A call, or a match that never became one, from the reader's point of view. */
        Call: {
            id: components["schemas"]["CallId"];
            roomId: components["schemas"]["RoomId"];
            partner: components["schemas"]["Partner"];
            /**
             * @description The topic that the learners searched with; null without one.
             * @example Travel
             */
            topic: string | null;
            level: components["schemas"]["CallLevel"];
            /** @description When the learners were matched. */
            startedAt: components["schemas"]["Time"];
            /**
             * @description When both had joined; null for a match that never became a call.
             * @example 2026-03-14T09:26:56.102Z
             */
            connectedAt: components["schemas"]["NullableTime"];
            /**
             * @description When the call ended; null while it lasts.
             * @example 2026-03-14T09:39:41.755Z
             */
            endedAt: components["schemas"]["NullableTime"];
            /**
             * Format: int32
             * @description Whole seconds from `connectedAt` to `endedAt`; 0 for a match that never became a call, null while it lasts.
             * @example 765
             */
            durationSeconds: number | null;
            /**
             * @description Who or what ended the call, from the reader's point of view; null while it lasts.
             * @example partner
             */
            endedBy: components["schemas"]["CallEnd"] | null;
            /**
             * Format: int32
             * @description The reader's rating of the partner; null if they gave none.
             */
            myRating: components["schemas"]["Stars"] | null;
        };
        /**
         * @description Who or what ended a call, from the reader's point of view. `timeout`: one did not join in time, did not
         *     reconnect, or the call reached two hours; `error`: the server lost it. Known values: `me`, `partner`, `timeout`, `error`.
         */
        CallEnd: string;
        /**
         * @description Whether a learner can be invited: `online` with an open connection, `in_call` in a call, `offline` else.
         * @example online
         */
        Presence: string;
        /** @description A learner with whom the user has a partnership, which both have asked for. */
        Partnership: {
            /**
             * @description Id of the partner.
             * @example 9d3f6c1a-2b7e-4a55-8c1d-5e8a7b9c0d12
             */
            userId: components["schemas"]["UserId"];
            /**
             * @description The display name, else the username.
             * @example Ben
             */
            displayName: string;
            /** @example https://files.example.com/avatars/9d3f6c1a-2b7e-4a55-8c1d-5e8a7b9c0d12/1772611200450-0d4e8a2b.webp */
            avatarUrl: components["schemas"]["AvatarUrl"];
            /** @description The partner's own estimate of their English; null until chosen. */
            level: components["schemas"]["Level"] | null;
            /** @description When the second of the two asked. */
            since: components["schemas"]["Time"];
            /** @description At the time of the request; null for a partner who does not share it, and while it is not known. */
            presence: components["schemas"]["Presence"] | null;
        };
        /** @description A page of the user's partners, the newest first. */
        PartnershipPage: {
            /** @description The partners of this page. */
            items: components["schemas"]["Partnership"][];
            nextCursor: components["schemas"]["NextCursor"];
        };
        /**
         * @description A time of the clocks in a time zone, to the minute.
         * @example 2026-12-01T18:00
         */
        LocalTime: string;
        /**
         * @description The name of a time zone in the IANA database, also an older one such as Asia/Calcutta.
         * @example America/Sao_Paulo
         */
        ZoneName: string;
        /**
         * @description What the clocks of the time zone are ahead of UTC at that time.
         * @example -03:00
         */
        UtcOffset: string;
        /**
         * Format: int32
         * @description How long the two mean to talk, in minutes.
         * @example 30
         */
        AppointmentMinutes: number;
        /**
         * @description What the proposer writes to the partner, several lines (see `x-text`).
         * @example Shall we practise job interviews?
         */
        AppointmentNote: string;
        /**
         * @description `proposed` until the partner answers; either of the two can cancel it until it begins. Known values: `proposed`, `accepted`, `declined`, `cancelled`.
         * @example proposed
         */
        AppointmentState: string;
        /** @description A time that is proposed to a partner. */
        AppointmentProposal: {
            /**
             * @description Id of the partner.
             * @example 9d3f6c1a-2b7e-4a55-8c1d-5e8a7b9c0d12
             */
            partnerId: components["schemas"]["UserId"];
            localTime: components["schemas"]["LocalTime"];
            timezone: components["schemas"]["ZoneName"];
            utcOffset?: components["schemas"]["UtcOffset"];
            durationMinutes: components["schemas"]["AppointmentMinutes"];
            note?: components["schemas"]["AppointmentNote"];
        };
        /** @description A time at which two partners meet, as one of them sees it. */
        Appointment: {
            id: components["schemas"]["AppointmentId"];
            partner: components["schemas"]["Partner"];
            /**
             * @description Whether the reader has proposed it.
             * @example true
             */
            isProposer: boolean;
            /**
             * @description When it begins.
             * @example 2026-12-01T21:00:00.000Z
             */
            startsAt: components["schemas"]["Time"];
            localTime: components["schemas"]["LocalTime"];
            timezone: components["schemas"]["ZoneName"];
            utcOffset: components["schemas"]["UtcOffset"];
            durationMinutes: components["schemas"]["AppointmentMinutes"];
            /** @description What the proposer has written to the partner; null without a note. */
            note: components["schemas"]["AppointmentNote"] | null;
            state: components["schemas"]["AppointmentState"];
            /** @description When it was proposed. */
            createdAt: components["schemas"]["Time"];
            /** @description When it was accepted or declined; null before. */
            answeredAt: components["schemas"]["NullableTime"];
        };
        /** @description A page of the user's appointments, the next first. */
        AppointmentPage: {
            /** @description The appointments of this page. */
            items: components["schemas"]["Appointment"][];
            nextCursor: components["schemas"]["NextCursor"];
        };
        /** @description A page of the user's calls, the newest first. */
        CallPage: {
            /** @description The calls of this page. */
            items: components["schemas"]["Call"][];
            nextCursor: components["schemas"]["NextCursor"];
        };
        /**
         * Format: int32
         * @description An amount in the smallest unit of the currency.
         * @example 49900
         */
        Money: number;
        /**
         * @description ISO 4217, lower case.
         * @example inr
         */
        Currency: string;
        /** @description The course to buy. Its price and currency are those of the catalogue. */
        CheckoutRequest: {
            courseId: components["schemas"]["CourseId"];
        };
        /**
         * Format: uri
         * @description The page of the payment provider on which the learner pays; open it in a browser.
         * @example https://checkout.stripe.com/c/pay/cs_live_a1b2c3d4e5f6
         */
        CheckoutUrl: string;
        /** @description An open order, and where it is paid. */
        Checkout: {
            orderId: components["schemas"]["OrderId"];
            url: components["schemas"]["CheckoutUrl"];
        };
        /**
         * @description `pending` until the learner pays. `processing`: the learner has paid by a method that takes days; `paid` or `failed`
         *     follows. `expired`: the page was not used in time. `refunded`: the whole amount was returned.
         * @example paid
         */
        OrderStatus: string;
        /**
         * @description `pending` until the learner pays. `processing`: the learner has paid by a method that takes days; `paid` or `failed`
         *     follows. `expired`: the page was not used in time. `refunded`: the whole amount was returned.
         * @example paid
         * @enum {string}
         */
        OrderStatusInput: "pending" | "processing" | "paid" | "failed" | "expired" | "refunded";
        /** @description The payment provider of an order. Known values: `stripe`, `razorpay`. */
        PaymentProvider: string;
        /**
         * @description The payment provider of an order.
         * @enum {string}
         */
        PaymentProviderInput: "stripe" | "razorpay";
        /**
         * @description A number of the order for people, as on receipts and in e-mails.
         * @example PL-7KQ2M9XW4TBD
         */
        ReceiptId: string;
        /** @description The purchase of a course. */
        Order: {
            id: components["schemas"]["OrderId"];
            receiptId: components["schemas"]["ReceiptId"];
            courseId: components["schemas"]["CourseId"];
            /**
             * @description The title of the course at the time of the order.
             * @example Small talk that works
             */
            courseTitle: string;
            /** @description The price of the order, in the smallest unit of the currency. */
            amount: components["schemas"]["Money"];
            /**
             * @description What was returned of it so far, in the smallest unit of the currency.
             * @example 10000
             */
            amountRefunded: components["schemas"]["Money"];
            currency: components["schemas"]["Currency"];
            status: components["schemas"]["OrderStatus"];
            provider: components["schemas"]["PaymentProvider"];
            /**
             * @description Whether a dispute is open or lost.
             * @example false
             */
            isDisputed: boolean;
            /**
             * @description When the payment succeeded; null before.
             * @example 2026-03-12T20:16:05.933Z
             */
            paidAt: components["schemas"]["NullableTime"];
            /**
             * @description When the order was opened.
             * @example 2026-03-12T20:14:31.207Z
             */
            createdAt: components["schemas"]["Time"];
        };
        /** @description A page of the user's orders, the newest first. */
        OrderPage: {
            /** @description The orders of this page. */
            items: components["schemas"]["Order"][];
            nextCursor: components["schemas"]["NextCursor"];
        };
        /** @description A device that gets pushes of Firebase Cloud Messaging. */
        PushDevice: {
            /**
             * @description The FCM registration token of the app on this device.
             * @example cXJzdHV2d3h5:APA91bFcm-registration-token-of-the-device
             */
            fcmToken: string;
            deviceId: components["schemas"]["DeviceId"];
            platform: components["schemas"]["PlatformInput"];
        };
        /**
         * @description What a notification is about. `system` is written by the operators, `admin_alert` is for administrators. Known values: `match_found`, `payment_success`, `payment_failed`, `system`, `achievement`, `admin_alert`.
         * @example achievement
         */
        NotificationType: string;
        /** @description A notification in the app. */
        Notification: {
            id: components["schemas"]["NotificationId"];
            type: components["schemas"]["NotificationType"];
            /**
             * @description A short sentence, in English.
             * @example Seven days in a row
             */
            title: string;
            /**
             * @description The text, in English.
             * @example You have practised on 7 days without a gap. Come back tomorrow to keep it going.
             */
            body: string;
            data: components["schemas"]["NotificationData"];
            /**
             * @description Whether the user has read it.
             * @example true
             */
            isRead: boolean;
            /**
             * @description When it was created.
             * @example 2026-03-14T09:39:41.755Z
             */
            createdAt: components["schemas"]["Time"];
            /**
             * @description When the user read it; null before.
             * @example 2026-03-14T12:05:17.480Z
             */
            readAt: components["schemas"]["NullableTime"];
        };
        /**
         * @description Target in the app: `roomId` and `sessionId` of a match; `orderId` and `courseId` of a payment; `achievement`
         *     (`streak` or `sessions`) and `reached`; the `kind` `partner` with `userId`, or `appointment` with `appointmentId`
         *     and `userId`; of an alert its `kind`, with `orderId`, `userId`, `reportId` or `eventId`. A push carries the same, with `type` and `notificationId`. Null without a target.
         * @example {
         *       "achievement": "streak",
         *       "reached": "7"
         *     }
         */
        NotificationData: {
            [key: string]: string;
        } | null;
        /** @description A page of notifications, the newest first. */
        NotificationPage: {
            /** @description The notifications of this page. */
            items: components["schemas"]["Notification"][];
            nextCursor: components["schemas"]["NextCursor"];
            /**
             * Format: int64
             * @description The number of all the user's unread notifications.
             * @example 2
             */
            unreadCount: number;
        };
        /** @description The number of unread notifications. */
        UnreadCount: {
            /**
             * Format: int64
             * @description The number of all the user's unread notifications.
             * @example 2
             */
            unreadCount: number;
        };
        /** @description A device that gets pushes. */
        ExportedPushDevice: {
            deviceId: components["schemas"]["DeviceId"];
            platform: components["schemas"]["Platform"];
            /**
             * @description When its token was last registered.
             * @example 2026-03-02T18:04:12.644Z
             */
            updatedAt: components["schemas"]["Time"];
        };
        /** @description An order, as administrators see it. */
        AdminOrder: {
            id: components["schemas"]["OrderId"];
            receiptId: components["schemas"]["ReceiptId"];
            /** @description Id of the learner who buys the course. */
            userId: components["schemas"]["UserId"];
            courseId: components["schemas"]["CourseId"];
            /**
             * @description The title of the course at the time of the order.
             * @example Small talk that works
             */
            courseTitle: string;
            /** @description The price of the order, in the smallest unit of the currency. */
            amount: components["schemas"]["Money"];
            /**
             * @description What was returned of it so far, in the smallest unit of the currency.
             * @example 10000
             */
            amountRefunded: components["schemas"]["Money"];
            currency: components["schemas"]["Currency"];
            status: components["schemas"]["OrderStatus"];
            provider: components["schemas"]["PaymentProvider"];
            /**
             * @description The provider's id of the payment, as its dashboard shows it; null before the payment.
             * @example pi_3QabcdEFGHijkl0123456789
             */
            providerPaymentId: string | null;
            /**
             * @description Whether a dispute is open or lost.
             * @example false
             */
            isDisputed: boolean;
            /**
             * @description Whether a bank inquires about the payment. No money has moved, and it can be refunded.
             * @example false
             */
            isUnderInquiry: boolean;
            /**
             * @description Facts that an administrator should look at, each once.
             * @example []
             */
            alerts: components["schemas"]["OrderAlert"][];
            /**
             * @description When the payment succeeded; null before.
             * @example 2026-03-12T20:16:05.933Z
             */
            paidAt: components["schemas"]["NullableTime"];
            /**
             * @description When the order was opened.
             * @example 2026-03-12T20:14:31.207Z
             */
            createdAt: components["schemas"]["Time"];
        };
        /**
         * @description A fact about an order that an administrator should look at. `amount_differs`, `currency_differs`, `mode_differs`,
         *     `session_differs`: the provider reports another value than the order has. `paid_twice`: a course was paid by two orders.
         *     `inquiry`, `disputed`: a bank asks about the payment, or claims it. `account_deleted`: the account was deleted before
         *     the payment. Known values: `amount_differs`, `currency_differs`, `mode_differs`, `session_differs`, `paid_twice`, `inquiry`, `disputed`, `refund_failed`, `account_deleted`.
         */
        OrderAlert: string;
        /** @description A page of orders, the newest first. */
        AdminOrderPage: {
            /** @description The orders of this page. */
            items: components["schemas"]["AdminOrder"][];
            nextCursor: components["schemas"]["NextCursor"];
        };
        /**
         * @description Why the payment is refunded, several lines (see `x-text`).
         * @example The last lesson could not be played.
         */
        RefundReason: string;
        /** @description A refund of a paid order. */
        RefundRequest: {
            /**
             * Format: int32
             * @description In the smallest unit of the currency; if absent, the whole remaining amount.
             * @example 10000
             */
            amount?: number;
            reason?: components["schemas"]["RefundReason"];
        };
        /** @description A refund of an order. */
        Refund: {
            id: components["schemas"]["RefundId"];
            orderId: components["schemas"]["OrderId"];
            /**
             * @description The refunded amount, in the smallest unit of the currency.
             * @example 10000
             */
            amount: components["schemas"]["Money"];
            currency: components["schemas"]["Currency"];
            status: components["schemas"]["RefundStatus"];
            /** @description The administrator's reason; null without one, or for a refund in the provider's dashboard. */
            reason: components["schemas"]["RefundReason"] | null;
            /**
             * @description When the refund was issued.
             * @example 2026-03-16T10:30:00.512Z
             */
            createdAt: components["schemas"]["Time"];
        };
        /**
         * @description `pending` until the provider confirms or refuses the refund. Known values: `pending`, `succeeded`, `failed`.
         * @example succeeded
         */
        RefundStatus: string;
        /**
         * @description An event in the JSON of the payment provider, which its own documentation describes.
         * @example {
         *       "id": "evt_1Pk2L3M4n5O6p7Q8",
         *       "type": "checkout.session.completed",
         *       "data": {
         *         "object": {
         *           "id": "cs_test_a1B2c3"
         *         }
         *       }
         *     }
         */
        ProviderEvent: {
            [key: string]: unknown;
        };
        /** @description That an event of a payment provider is stored. */
        WebhookReceipt: {
            /**
             * @description Always true.
             * @enum {boolean}
             */
            isReceived: true;
        };
        /**
         * @description The title, one line (see `x-text`).
         * @example Small talk that works
         */
        CourseTitle: string;
        /**
         * @description The description, several lines (see `x-text`); empty if none was given.
         * @example Ten openings that lead to a conversation, and how to leave one.
         */
        CourseText: string;
        /**
         * @description The name of a course in addresses, unique.
         * @example small-talk-that-works
         */
        Slug: string;
        /**
         * Format: int32
         * @description The price in the smallest unit of the currency; 0 is free.
         * @example 49900
         */
        Price: number;
        /**
         * @description Whether learners see the course in the catalogue and can enroll.
         * @example true
         */
        IsPublished: boolean;
        /**
         * Format: uri
         * @description Address of the course's picture, WebP; null without one. A new picture has a new address.
         * @example https://files.example.com/thumbnails/courses/c0a8f1d2-4b7e-4f39-8c6d-51e2a9b7d304/1772438400000000000.webp
         */
        ThumbnailUrl: string | null;
        /** @description A course of the catalogue. */
        Course: {
            id: components["schemas"]["CourseId"];
            title: components["schemas"]["CourseTitle"];
            slug: components["schemas"]["Slug"];
            description: components["schemas"]["CourseText"];
            thumbnailUrl: components["schemas"]["ThumbnailUrl"];
            price: components["schemas"]["Price"];
            currency: components["schemas"]["Currency"];
            /** @description The level of English that the course is for. */
            level: components["schemas"]["Level"];
            isPublished: components["schemas"]["IsPublished"];
            /**
             * @description Whether the reader is enrolled; false without a token.
             * @example true
             */
            isEnrolled: boolean;
            /**
             * @description When the course was created.
             * @example 2026-03-02T08:00:00.000Z
             */
            createdAt: components["schemas"]["Time"];
        };
        /** @description A page of courses, the newest first. */
        CoursePage: {
            /** @description The courses of this page. */
            items: components["schemas"]["Course"][];
            nextCursor: components["schemas"]["NextCursor"];
        };
        /** @description The enrollment in a free course, or the open order of another. */
        EnrollmentResponse: {
            /**
             * @description Whether the learner is enrolled now; false until the order is paid.
             * @example false
             */
            isEnrolled: boolean;
            /** @description Id of the order; absent for a free course. */
            orderId?: components["schemas"]["OrderId"];
            /** @description The page of the payment provider on which the learner pays; absent for a free course. */
            url?: components["schemas"]["CheckoutUrl"];
        };
        /** @description The enrollment of the user in a course. */
        ExportedEnrollment: {
            courseId: components["schemas"]["CourseId"];
            /** @description Id of the order that paid for it; null for a free course. */
            orderId: components["schemas"]["OrderId"] | null;
            /**
             * @description When the learner was enrolled.
             * @example 2026-03-12T20:16:06.120Z
             */
            enrolledAt: components["schemas"]["Time"];
        };
        /** @description A new course. */
        CourseDraft: {
            title: components["schemas"]["CourseTitle"];
            /** @description The name in addresses, unique; generated from the title if absent. */
            slug?: components["schemas"]["Slug"];
            description?: components["schemas"]["CourseText"];
            price: components["schemas"]["Price"];
            /** @description ISO 4217, lower case; `inr` if absent. */
            currency?: components["schemas"]["Currency"];
            /** @description The level of English that the course is for. */
            level: components["schemas"]["LevelInput"];
            /** @description Whether learners see the course in the catalogue and can enroll; false if absent. */
            isPublished?: components["schemas"]["IsPublished"];
        };
        /** @description Fields of a course to change. An absent field keeps its value. */
        CourseUpdate: {
            title?: components["schemas"]["CourseTitle"];
            slug?: components["schemas"]["Slug"];
            description?: components["schemas"]["CourseText"];
            /** @description The price of new orders; those that exist keep theirs. */
            price?: components["schemas"]["Price"];
            currency?: components["schemas"]["Currency"];
            /** @description The level of English that the course is for. */
            level?: components["schemas"]["LevelInput"];
            isPublished?: components["schemas"]["IsPublished"];
        };
        /** @description A form with one file. */
        ThumbnailUpload: {
            /**
             * Format: binary
             * @description A picture: JPEG, PNG or WebP of 25 megapixels at most.
             */
            file: string;
        };
        /** @description The picture of a course. */
        Thumbnail: {
            /**
             * Format: uri
             * @description Address of the new picture, WebP.
             * @example https://files.example.com/thumbnails/courses/c0a8f1d2-4b7e-4f39-8c6d-51e2a9b7d304/1772438400000000000.webp
             */
            thumbnailUrl: string;
        };
        /**
         * @description The title, one line (see `x-text`).
         * @example Ask, and ask again
         */
        LessonTitle: string;
        /**
         * @description The description, several lines (see `x-text`); empty if none was given.
         * @example How a second question keeps a conversation going.
         */
        LessonText: string;
        /**
         * @description Whether the lesson is a free preview, which needs no enrollment.
         * @example false
         */
        IsFree: boolean;
        /** @description A new lesson, the last of its course. */
        LessonDraft: {
            title: components["schemas"]["LessonTitle"];
            description?: components["schemas"]["LessonText"];
            /** @description Whether the lesson is a free preview, which needs no enrollment; false if absent. */
            isFree?: components["schemas"]["IsFree"];
        };
        /** @description Fields of a lesson to change. An absent field keeps its value. */
        LessonUpdate: {
            title?: components["schemas"]["LessonTitle"];
            description?: components["schemas"]["LessonText"];
            isFree?: components["schemas"]["IsFree"];
        };
        /** @description The new order of a course's lessons. */
        LessonOrder: {
            /**
             * @description The ids of all lessons of the course, each once.
             * @example [
             *       "2f9b6c81-e5d4-4073-9a1e-8c7d0b3f64a5",
             *       "84e0d7a3-19f6-4b2c-a5c8-6d3b9e2f7015"
             *     ]
             */
            lessonIds: components["schemas"]["LessonId"][];
        };
        /** @description A lesson of a course. */
        Lesson: {
            id: components["schemas"]["LessonId"];
            courseId: components["schemas"]["CourseId"];
            title: components["schemas"]["LessonTitle"];
            description: components["schemas"]["LessonText"];
            /**
             * Format: int32
             * @description Position in the course; rises from lesson to lesson, with gaps where one was deleted.
             * @example 0
             */
            orderIndex: number;
            isFree: components["schemas"]["IsFree"];
            /**
             * @description Whether the lesson has a video that is ready to play.
             * @example true
             */
            isPlayable: boolean;
            /**
             * Format: int32
             * @description Length of the video in seconds; null without one.
             * @example 342
             */
            durationSeconds: number | null;
            /** @description State of the last uploaded video, for administrators; null for learners. */
            videoStatus: components["schemas"]["VideoStatus"] | null;
            /**
             * Format: int32
             * @description Percent of the processing that is done, for administrators; null for learners.
             * @example 100
             */
            videoProgress: number | null;
            /**
             * @description Why the processing failed, for administrators; null for learners, or if it did not fail.
             * @example null
             */
            videoError: string | null;
            /**
             * @description When the lesson was created.
             * @example 2026-03-02T08:05:12.000Z
             */
            createdAt: components["schemas"]["Time"];
        };
        /**
         * @description The state of a lesson's last uploaded video; `none` before the first upload. Known values: `none`, `processing`, `ready`, `failed`.
         * @example ready
         */
        VideoStatus: string;
        /** @description The lessons of a course. */
        LessonList: {
            /** @description All lessons, in their order. */
            items: components["schemas"]["Lesson"][];
        };
        /** @description How far the learner has watched the video of a lesson. */
        LessonPosition: {
            /**
             * Format: int32
             * @description The position in seconds. A lower one than before is ignored, and one beyond the length of the video is stored as that
             *     length.
             * @example 180
             */
            watchSeconds: number;
        };
        /** @description Progress of the learner in a lesson. */
        LessonProgress: {
            lessonId: components["schemas"]["LessonId"];
            /**
             * Format: int32
             * @description The furthest position watched, in seconds, from which a player resumes.
             * @example 342
             */
            watchSeconds: number;
            /**
             * @description Whether the learner has completed the lesson.
             * @example true
             */
            isCompleted: boolean;
            /**
             * @description When the learner completed the lesson; null before.
             * @example 2026-03-13T19:12:08.064Z
             */
            completedAt: components["schemas"]["NullableTime"];
        };
        /**
         * Format: int32
         * @description The number of lessons of the course.
         * @example 2
         */
        TotalLessons: number;
        /**
         * Format: int32
         * @description The number of lessons that the learner has completed.
         * @example 1
         */
        CompletedLessons: number;
        /** @description Progress of the learner in a course. */
        CourseProgress: {
            courseId: components["schemas"]["CourseId"];
            totalLessons: components["schemas"]["TotalLessons"];
            completedLessons: components["schemas"]["CompletedLessons"];
            /**
             * @description The lesson to resume: the last one watched, or the next one if that is completed; null if all are, or the course
             *     has none.
             * @example 84e0d7a3-19f6-4b2c-a5c8-6d3b9e2f7015
             */
            resumeLessonId: components["schemas"]["LessonId"] | null;
            /**
             * @description One entry for each lesson, in their order, begun or not.
             * @example [
             *       {
             *         "lessonId": "2f9b6c81-e5d4-4073-9a1e-8c7d0b3f64a5",
             *         "watchSeconds": 342,
             *         "isCompleted": true,
             *         "completedAt": "2026-03-13T19:12:08.064Z"
             *       },
             *       {
             *         "lessonId": "84e0d7a3-19f6-4b2c-a5c8-6d3b9e2f7015",
             *         "watchSeconds": 0,
             *         "isCompleted": false,
             *         "completedAt": null
             *       }
             *     ]
             */
            items: components["schemas"]["LessonProgress"][];
        };
        /** @description A course in which the user is enrolled. */
        CourseEnrollment: {
            course: components["schemas"]["Course"];
            /**
             * @description When the learner was enrolled.
             * @example 2026-03-12T20:16:06.120Z
             */
            enrolledAt: components["schemas"]["Time"];
            totalLessons: components["schemas"]["TotalLessons"];
            completedLessons: components["schemas"]["CompletedLessons"];
        };
        /** @description A page of the user's courses, the newest enrollment first. */
        CourseEnrollmentPage: {
            /** @description The courses of this page. */
            items: components["schemas"]["CourseEnrollment"][];
            nextCursor: components["schemas"]["NextCursor"];
        };
        /**
         * @description One line of at most 255 bytes of UTF-8, without a folder or a dot before it, see `x-text`.
         * @example Wörter.pdf
         */
        FileName: string;
        /** @description A form with one file, whose name is kept. */
        AttachmentUpload: {
            /**
             * Format: binary
             * @description A file of any kind: a worksheet, slides, a transcript.
             */
            file: string;
        };
        /** @description A file that belongs to a lesson. */
        Attachment: {
            id: components["schemas"]["AttachmentId"];
            name: components["schemas"]["FileName"];
            /**
             * @description `application/pdf`, `image/png` or `image/jpeg` by the first bytes of the file; `application/octet-stream` for any
             *     other.
             * @example application/pdf
             */
            contentType: string;
            /**
             * Format: int32
             * @description Size in bytes.
             * @example 48213
             */
            sizeBytes: number;
            /**
             * Format: uri
             * @description Signed address from which the file is downloaded, without a token, until `expiresAt`.
             * @example https://files.example.com/parlance/attachments/courses/c0a8f1d2/2f9b6c81/b73d1a5e?X-Amz-Signature=5d41402a
             */
            url: string;
            /**
             * @description When `url` stops working.
             * @example 2026-03-14T09:36:53.589Z
             */
            expiresAt: components["schemas"]["Time"];
            /**
             * @description When the file was uploaded.
             * @example 2026-03-02T08:07:30.415Z
             */
            createdAt: components["schemas"]["Time"];
        };
        /** @description The files of a lesson. */
        AttachmentList: {
            /** @description All files, the oldest first. */
            items: components["schemas"]["Attachment"][];
        };
        /**
         * Format: binary
         * @description The next bytes of the file.
         */
        UploadChunk: string;
        /** @description An address that plays the video of a lesson. */
        VideoLink: {
            /**
             * Format: uri
             * @description Address of an HLS master playlist, for a player, without a header.
             * @example https://api.example.com/lessons/2f9b6c81-e5d4-4073-9a1e-8c7d0b3f64a5/playback/master.m3u8?token=eyJhbGciOiJSUzI1NiJ9
             */
            url: string;
            /**
             * @description When `url` stops working; ask for another.
             * @example 2026-03-14T09:42:35.589Z
             */
            expiresAt: components["schemas"]["Time"];
        };
        /**
         * @description An HLS playlist (RFC 8216).
         * @example #EXTM3U
         *     #EXT-X-VERSION:7
         */
        Playlist: string;
    };
    responses: {
        /** @description The request does not match the contract, or a token or signature in it is invalid. */
        BadRequest: {
            headers: {
                "X-Request-Id": components["headers"]["XRequestId"];
                "Retry-After": components["headers"]["RetryAfter"];
                [name: string]: unknown;
            };
            content: {
                "application/problem+json": components["schemas"]["Problem"];
            };
        };
        /** @description No valid access token or credentials. */
        Unauthorized: {
            headers: {
                "X-Request-Id": components["headers"]["XRequestId"];
                "Retry-After": components["headers"]["RetryAfter"];
                "WWW-Authenticate": components["headers"]["WwwAuthenticate"];
                [name: string]: unknown;
            };
            content: {
                "application/problem+json": components["schemas"]["Problem"];
            };
        };
        /** @description The account is not allowed to do this. */
        Forbidden: {
            headers: {
                "X-Request-Id": components["headers"]["XRequestId"];
                "Retry-After": components["headers"]["RetryAfter"];
                [name: string]: unknown;
            };
            content: {
                "application/problem+json": components["schemas"]["Problem"];
            };
        };
        /** @description The resource does not exist, or the account may not see it. */
        NotFound: {
            headers: {
                "X-Request-Id": components["headers"]["XRequestId"];
                "Retry-After": components["headers"]["RetryAfter"];
                [name: string]: unknown;
            };
            content: {
                "application/problem+json": components["schemas"]["Problem"];
            };
        };
        /** @description The state of the resource does not allow this; the code says which state. */
        Conflict: {
            headers: {
                "X-Request-Id": components["headers"]["XRequestId"];
                "Retry-After": components["headers"]["RetryAfter"];
                [name: string]: unknown;
            };
            content: {
                "application/problem+json": components["schemas"]["Problem"];
            };
        };
        /** @description The version of tus is missing or not supported. */
        PreconditionFailed: {
            headers: {
                "X-Request-Id": components["headers"]["XRequestId"];
                "Retry-After": components["headers"]["RetryAfter"];
                "Tus-Version": components["headers"]["TusVersion"];
                [name: string]: unknown;
            };
            content: {
                "application/problem+json": components["schemas"]["Problem"];
            };
        };
        /** @description The body is too large. */
        ContentTooLarge: {
            headers: {
                "X-Request-Id": components["headers"]["XRequestId"];
                "Retry-After": components["headers"]["RetryAfter"];
                [name: string]: unknown;
            };
            content: {
                "application/problem+json": components["schemas"]["Problem"];
            };
        };
        /** @description The type of the body or of the file in it is not supported. */
        UnsupportedMediaType: {
            headers: {
                "X-Request-Id": components["headers"]["XRequestId"];
                "Retry-After": components["headers"]["RetryAfter"];
                [name: string]: unknown;
            };
            content: {
                "application/problem+json": components["schemas"]["Problem"];
            };
        };
        /** @description The `Idempotency-Key` was used for another request. */
        UnprocessableContent: {
            headers: {
                "X-Request-Id": components["headers"]["XRequestId"];
                "Retry-After": components["headers"]["RetryAfter"];
                [name: string]: unknown;
            };
            content: {
                "application/problem+json": components["schemas"]["Problem"];
            };
        };
        /** @description Too many requests. */
        TooManyRequests: {
            headers: {
                "X-Request-Id": components["headers"]["XRequestId"];
                "Retry-After": components["headers"]["RetryAfter"];
                "RateLimit-Policy": components["headers"]["RateLimitPolicy"];
                RateLimit: components["headers"]["RateLimit"];
                [name: string]: unknown;
            };
            content: {
                "application/problem+json": components["schemas"]["Problem"];
            };
        };
        /** @description Another service refused the request of the server. */
        BadGateway: {
            headers: {
                "X-Request-Id": components["headers"]["XRequestId"];
                "Retry-After": components["headers"]["RetryAfter"];
                [name: string]: unknown;
            };
            content: {
                "application/problem+json": components["schemas"]["Problem"];
            };
        };
        /** @description A service that the server depends on is unavailable. */
        ServiceUnavailable: {
            headers: {
                "X-Request-Id": components["headers"]["XRequestId"];
                "Retry-After": components["headers"]["RetryAfter"];
                [name: string]: unknown;
            };
            content: {
                "application/problem+json": components["schemas"]["Problem"];
            };
        };
        /** @description Any other error; `code` is for programs, `detail` for people. */
        Problem: {
            headers: {
                "X-Request-Id": components["headers"]["XRequestId"];
                "Retry-After": components["headers"]["RetryAfter"];
                [name: string]: unknown;
            };
            content: {
                "application/problem+json": components["schemas"]["Problem"];
            };
        };
    };
    parameters: {
        /** @description Id of the user. */
        userId: components["schemas"]["Id"];
        /** @description Id of the sanction. */
        sanctionId: components["schemas"]["Id"];
        /** @description Id of the call. */
        sessionId: components["schemas"]["Id"];
        /** @description Id of the appointment. */
        appointmentId: components["schemas"]["Id"];
        /** @description Id of the order. */
        orderId: components["schemas"]["Id"];
        /** @description Id of the notification. */
        notificationId: components["schemas"]["Id"];
        /** @description Id of the course. */
        courseId: components["schemas"]["Id"];
        /** @description Id of the lesson. */
        lessonId: components["schemas"]["Id"];
        /** @description Id of the file. */
        attachmentId: components["schemas"]["Id"];
        /** @description Id of the upload. */
        uploadId: components["schemas"]["Id"];
        /** @description Id of the device, as the app sent it at login. */
        deviceId: components["schemas"]["DeviceId"];
        /** @description Name of the document. */
        document: components["schemas"]["DocumentName"];
        /**
         * @description The refresh token of a `web` login. Browsers send it by themselves; scripts cannot read it. Over http, in
         *     development, its name is `refresh_token`.
         */
        refreshCookie: string;
        /**
         * @description What `POST /auth/authorization` has set: browsers send it by themselves. Over http, in development, its name is
         *     `authorization`.
         */
        authorizationCookie: string;
        /** @description Stripe's signature of the body; required for its events. */
        stripeSignature: string;
        /** @description Razorpay's signature of the body; required for its events. */
        razorpaySignature: string;
        /** @description Razorpay's id of the event; required for its events, which are processed once for each id. */
        razorpayEventId: string;
        /** @description The version of tus, `1.0.0`; without it 412. */
        tusResumable: string;
        /** @description Total bytes. */
        uploadLength: string;
        /** @description Keys and values in base64, stored with the upload; `HEAD` returns them. The server does not use them. */
        uploadMetadata: string;
        /** @description The offset of these bytes. */
        uploadOffset: string;
        /** @description The master playlist, or the one of a quality or of the sound; the master playlist links to these. */
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
        /** @description How long the response may be stored, and by which caches (RFC 9111). */
        CachePolicy: string;
        /** @description Validator of the body (RFC 9110, 8.8.3). */
        EntityTag: string;
        /** @description A file name for browsers. */
        ContentDisposition: string;
        /** @description For `web` logins the refresh token, as `__Host-refresh_token`; over http, in development, as `refresh_token`. */
        SetCookie: string;
        /** @description Deletes the refresh cookie of web clients. */
        ClearCookie: string;
        /** @description What this browser needs to go on, as `__Host-authorization`; over http, in development, as `authorization`. */
        AuthorizationCookie: string;
        /** @description Deletes the cookie of `POST /auth/authorization`. */
        ClearAuthorizationCookie: string;
        /** @description Id of the request in the logs; the `X-Request-Id` of the request, if it has one. */
        XRequestId: string;
        /** @description Seconds to wait before the request is sent again; with 429, 503 and `idempotency_in_flight`. */
        RetryAfter: number;
        /**
         * @description The limits of the operation (draft-ietf-httpapi-ratelimit-headers-10): for each policy the quota `q` of requests in a
         *     sliding window of `w` seconds.
         */
        RateLimitPolicy: string;
        /**
         * @description For each policy the requests `r` that are left, and the seconds `t` until one more is available. A
         *     policy without `t` has all its requests left.
         */
        RateLimit: string;
        /** @description The scheme of access tokens; `error="invalid_token"` if one was sent (RFC 6750). */
        WwwAuthenticate: string;
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
export type UserId = components['schemas']['UserId'];
export type CallId = components['schemas']['CallId'];
export type RoomId = components['schemas']['RoomId'];
export type AppointmentId = components['schemas']['AppointmentId'];
export type ReportId = components['schemas']['ReportId'];
export type SanctionId = components['schemas']['SanctionId'];
export type AppealId = components['schemas']['AppealId'];
export type OrderId = components['schemas']['OrderId'];
export type RefundId = components['schemas']['RefundId'];
export type DisputeId = components['schemas']['DisputeId'];
export type NotificationId = components['schemas']['NotificationId'];
export type CourseId = components['schemas']['CourseId'];
export type LessonId = components['schemas']['LessonId'];
export type AttachmentId = components['schemas']['AttachmentId'];
export type Time = components['schemas']['Time'];
export type NullableTime = components['schemas']['NullableTime'];
export type NextCursor = components['schemas']['NextCursor'];
export type ErrorCode = components['schemas']['ErrorCode'];
export type Problem = components['schemas']['Problem'];
export type Health = components['schemas']['Health'];
export type Policy = components['schemas']['Policy'];
export type PolicyDocument = components['schemas']['PolicyDocument'];
export type PolicyContact = components['schemas']['PolicyContact'];
export type WayToMeet = components['schemas']['WayToMeet'];
export type PairingPlatforms = components['schemas']['PairingPlatforms'];
export type RetentionRule = components['schemas']['RetentionRule'];
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
export type AccountEmail = components['schemas']['AccountEmail'];
export type IsVerified = components['schemas']['IsVerified'];
export type Password = components['schemas']['Password'];
export type DeviceId = components['schemas']['DeviceId'];
export type DeviceProof = components['schemas']['DeviceProof'];
export type EmailToken = components['schemas']['EmailToken'];
export type RefreshToken = components['schemas']['RefreshToken'];
export type RegisterRequest = components['schemas']['RegisterRequest'];
export type LoginRequest = components['schemas']['LoginRequest'];
export type RefreshRequest = components['schemas']['RefreshRequest'];
export type ForgotPasswordRequest = components['schemas']['ForgotPasswordRequest'];
export type ResetPasswordRequest = components['schemas']['ResetPasswordRequest'];
export type VerifyEmailRequest = components['schemas']['VerifyEmailRequest'];
export type DeviceList = components['schemas']['DeviceList'];
export type Device = components['schemas']['Device'];
export type AuthTokens = components['schemas']['AuthTokens'];
export type SecondFactorCode = components['schemas']['SecondFactorCode'];
export type SecondFactor = components['schemas']['SecondFactor'];
export type SecondFactorRequest = components['schemas']['SecondFactorRequest'];
export type SecondFactorSecret = components['schemas']['SecondFactorSecret'];
export type SecondFactorProofRequest = components['schemas']['SecondFactorProofRequest'];
export type SecondFactorAnswer = components['schemas']['SecondFactorAnswer'];
export type SecondFactorProof = components['schemas']['SecondFactorProof'];
export type SecondFactorConfirmation = components['schemas']['SecondFactorConfirmation'];
export type RecoveryCodes = components['schemas']['RecoveryCodes'];
export type Account = components['schemas']['Account'];
export type Level = components['schemas']['Level'];
export type LevelInput = components['schemas']['LevelInput'];
export type LearningGoal = components['schemas']['LearningGoal'];
export type LearningGoalInput = components['schemas']['LearningGoalInput'];
export type Username = components['schemas']['Username'];
export type DisplayName = components['schemas']['DisplayName'];
export type AvatarUrl = components['schemas']['AvatarUrl'];
export type Bio = components['schemas']['Bio'];
export type NativeLanguage = components['schemas']['NativeLanguage'];
export type Country = components['schemas']['Country'];
export type Timezone = components['schemas']['Timezone'];
export type SharesPresence = components['schemas']['SharesPresence'];
export type TotalPracticeMinutes = components['schemas']['TotalPracticeMinutes'];
export type TotalCalls = components['schemas']['TotalCalls'];
export type StreakDays = components['schemas']['StreakDays'];
export type Me = components['schemas']['Me'];
export type MissingStep = components['schemas']['MissingStep'];
export type AgeBand = components['schemas']['AgeBand'];
export type AgeBandInput = components['schemas']['AgeBandInput'];
export type BirthDate = components['schemas']['BirthDate'];
export type AgeDeclaration = components['schemas']['AgeDeclaration'];
export type ConsentList = components['schemas']['ConsentList'];
export type Consent = components['schemas']['Consent'];
export type ConsentRequest = components['schemas']['ConsentRequest'];
export type DocumentName = components['schemas']['DocumentName'];
export type DocumentVersion = components['schemas']['DocumentVersion'];
export type MeUpdate = components['schemas']['MeUpdate'];
export type DeleteMeRequest = components['schemas']['DeleteMeRequest'];
export type PresentPassword = components['schemas']['PresentPassword'];
export type Proof = components['schemas']['Proof'];
export type EmailCodeProof = components['schemas']['EmailCodeProof'];
export type EmailChallengeId = components['schemas']['EmailChallengeId'];
export type EmailCode = components['schemas']['EmailCode'];
export type PasskeyProof = components['schemas']['PasskeyProof'];
export type PasskeyChallengeToken = components['schemas']['PasskeyChallengeToken'];
export type PasskeyCredentialJson = components['schemas']['PasskeyCredentialJson'];
export type PasskeyChallenge = components['schemas']['PasskeyChallenge'];
export type PasskeyLoginRequest = components['schemas']['PasskeyLoginRequest'];
export type PasskeyRegistrationRequest = components['schemas']['PasskeyRegistrationRequest'];
export type PasskeyRegistration = components['schemas']['PasskeyRegistration'];
export type PasskeyId = components['schemas']['PasskeyId'];
export type PasskeyName = components['schemas']['PasskeyName'];
export type Passkey = components['schemas']['Passkey'];
export type UndoableEmailChange = components['schemas']['UndoableEmailChange'];
export type PasswordChangeRequest = components['schemas']['PasswordChangeRequest'];
export type EmailChangeRequest = components['schemas']['EmailChangeRequest'];
export type EmailChangeConfirmation = components['schemas']['EmailChangeConfirmation'];
export type EmailChangeUndoRequest = components['schemas']['EmailChangeUndoRequest'];
export type IdTokenProof = components['schemas']['IdTokenProof'];
export type IdentityProviderId = components['schemas']['IdentityProviderId'];
export type IdToken = components['schemas']['IdToken'];
export type IdTokenNonce = components['schemas']['IdTokenNonce'];
export type IdTokenLoginRequest = components['schemas']['IdTokenLoginRequest'];
export type IdentityRequest = components['schemas']['IdentityRequest'];
export type ProviderCode = components['schemas']['ProviderCode'];
export type IdentityGrant = components['schemas']['IdentityGrant'];
export type LoginMethods = components['schemas']['LoginMethods'];
export type PasskeyOffer = components['schemas']['PasskeyOffer'];
export type ProviderOffer = components['schemas']['ProviderOffer'];
export type ProviderClientIds = components['schemas']['ProviderClientIds'];
export type ProviderClientId = components['schemas']['ProviderClientId'];
export type EmailCodeRequest = components['schemas']['EmailCodeRequest'];
export type EmailChallenge = components['schemas']['EmailChallenge'];
export type EmailCodeLoginRequest = components['schemas']['EmailCodeLoginRequest'];
export type MyLoginMethods = components['schemas']['MyLoginMethods'];
export type Identity = components['schemas']['Identity'];
export type AuthorizationRequest = components['schemas']['AuthorizationRequest'];
export type Authorization = components['schemas']['Authorization'];
export type AuthorizationCodeRequest = components['schemas']['AuthorizationCodeRequest'];
export type AuthorizationTokens = components['schemas']['AuthorizationTokens'];
export type AvatarUpload = components['schemas']['AvatarUpload'];
export type Avatar = components['schemas']['Avatar'];
export type PublicProfile = components['schemas']['PublicProfile'];
export type Block = components['schemas']['Block'];
export type BlockPage = components['schemas']['BlockPage'];
export type DataExport = components['schemas']['DataExport'];
export type ExportedIdentity = components['schemas']['ExportedIdentity'];
export type ExportedEmailChange = components['schemas']['ExportedEmailChange'];
export type ExportedAge = components['schemas']['ExportedAge'];
export type ExportedConsent = components['schemas']['ExportedConsent'];
export type ExportedDispute = components['schemas']['ExportedDispute'];
export type DisputeStatus = components['schemas']['DisputeStatus'];
export type ExportedLogin = components['schemas']['ExportedLogin'];
export type ExportedSkill = components['schemas']['ExportedSkill'];
export type ExportedPairingRecord = components['schemas']['ExportedPairingRecord'];
export type ExportedCall = components['schemas']['ExportedCall'];
export type ExportedRating = components['schemas']['ExportedRating'];
export type ExportedPartnerWish = components['schemas']['ExportedPartnerWish'];
export type ExportedAppointment = components['schemas']['ExportedAppointment'];
export type ExportedInvitation = components['schemas']['ExportedInvitation'];
export type ExportedBlock = components['schemas']['ExportedBlock'];
export type Stars = components['schemas']['Stars'];
export type Rating = components['schemas']['Rating'];
export type FeedbackPace = components['schemas']['FeedbackPace'];
export type ReportReason = components['schemas']['ReportReason'];
export type ReportReasonInput = components['schemas']['ReportReasonInput'];
export type ReportStatus = components['schemas']['ReportStatus'];
export type ReportStatusInput = components['schemas']['ReportStatusInput'];
export type ReportOutcome = components['schemas']['ReportOutcome'];
export type Comment = components['schemas']['Comment'];
export type ReportRequest = components['schemas']['ReportRequest'];
export type Report = components['schemas']['Report'];
export type ReportPage = components['schemas']['ReportPage'];
export type AdminReport = components['schemas']['AdminReport'];
export type ReportCounts = components['schemas']['ReportCounts'];
export type ReportQueueCounts = components['schemas']['ReportQueueCounts'];
export type AdminReportPage = components['schemas']['AdminReportPage'];
export type ReportReview = components['schemas']['ReportReview'];
export type PictureCause = components['schemas']['PictureCause'];
export type PictureUrl = components['schemas']['PictureUrl'];
export type AdminPicture = components['schemas']['AdminPicture'];
export type AdminPicturePage = components['schemas']['AdminPicturePage'];
export type PictureOutcome = components['schemas']['PictureOutcome'];
export type PictureDecision = components['schemas']['PictureDecision'];
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
export type SanctionKind = components['schemas']['SanctionKind'];
export type SanctionKindInput = components['schemas']['SanctionKindInput'];
export type SanctionGround = components['schemas']['SanctionGround'];
export type SanctionGroundInput = components['schemas']['SanctionGroundInput'];
export type SanctionFacts = components['schemas']['SanctionFacts'];
export type SuspensionDays = components['schemas']['SuspensionDays'];
export type SanctionRequest = components['schemas']['SanctionRequest'];
export type ReportSanction = components['schemas']['ReportSanction'];
export type LiftRequest = components['schemas']['LiftRequest'];
export type DecisionReason = components['schemas']['DecisionReason'];
export type Sanction = components['schemas']['Sanction'];
export type SanctionInForce = components['schemas']['SanctionInForce'];
export type SanctionPage = components['schemas']['SanctionPage'];
export type AdminSanction = components['schemas']['AdminSanction'];
export type AdminSanctionPage = components['schemas']['AdminSanctionPage'];
export type AppealStatus = components['schemas']['AppealStatus'];
export type AppealStatusInput = components['schemas']['AppealStatusInput'];
export type AppealOutcome = components['schemas']['AppealOutcome'];
export type AppealWords = components['schemas']['AppealWords'];
export type AppealText = components['schemas']['AppealText'];
export type AppealRequest = components['schemas']['AppealRequest'];
export type AppealTokenRequest = components['schemas']['AppealTokenRequest'];
export type AppealToken = components['schemas']['AppealToken'];
export type Appeal = components['schemas']['Appeal'];
export type AdminAppeal = components['schemas']['AdminAppeal'];
export type AdminAppealPage = components['schemas']['AdminAppealPage'];
export type AppealDecision = components['schemas']['AppealDecision'];
export type AdminAppealCounts = components['schemas']['AdminAppealCounts'];
export type AdminUser = components['schemas']['AdminUser'];
export type AdminUserPage = components['schemas']['AdminUserPage'];
export type AdminUserDetail = components['schemas']['AdminUserDetail'];
export type StaffAccount = components['schemas']['StaffAccount'];
export type StaffPage = components['schemas']['StaffPage'];
export type StaffLoginList = components['schemas']['StaffLoginList'];
export type StaffLogin = components['schemas']['StaffLogin'];
export type AuditAction = components['schemas']['AuditAction'];
export type AuditEntry = components['schemas']['AuditEntry'];
export type AuditEntryPage = components['schemas']['AuditEntryPage'];
export type CallLevel = components['schemas']['CallLevel'];
export type Partner = components['schemas']['Partner'];
export type Call = components['schemas']['Call'];
export type CallEnd = components['schemas']['CallEnd'];
export type Presence = components['schemas']['Presence'];
export type Partnership = components['schemas']['Partnership'];
export type PartnershipPage = components['schemas']['PartnershipPage'];
export type LocalTime = components['schemas']['LocalTime'];
export type ZoneName = components['schemas']['ZoneName'];
export type UtcOffset = components['schemas']['UtcOffset'];
export type AppointmentMinutes = components['schemas']['AppointmentMinutes'];
export type AppointmentNote = components['schemas']['AppointmentNote'];
export type AppointmentState = components['schemas']['AppointmentState'];
export type AppointmentProposal = components['schemas']['AppointmentProposal'];
export type Appointment = components['schemas']['Appointment'];
export type AppointmentPage = components['schemas']['AppointmentPage'];
export type CallPage = components['schemas']['CallPage'];
export type Money = components['schemas']['Money'];
export type Currency = components['schemas']['Currency'];
export type CheckoutRequest = components['schemas']['CheckoutRequest'];
export type CheckoutUrl = components['schemas']['CheckoutUrl'];
export type Checkout = components['schemas']['Checkout'];
export type OrderStatus = components['schemas']['OrderStatus'];
export type OrderStatusInput = components['schemas']['OrderStatusInput'];
export type PaymentProvider = components['schemas']['PaymentProvider'];
export type PaymentProviderInput = components['schemas']['PaymentProviderInput'];
export type ReceiptId = components['schemas']['ReceiptId'];
export type Order = components['schemas']['Order'];
export type OrderPage = components['schemas']['OrderPage'];
export type PushDevice = components['schemas']['PushDevice'];
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
export type ProviderEvent = components['schemas']['ProviderEvent'];
export type WebhookReceipt = components['schemas']['WebhookReceipt'];
export type CourseTitle = components['schemas']['CourseTitle'];
export type CourseText = components['schemas']['CourseText'];
export type Slug = components['schemas']['Slug'];
export type Price = components['schemas']['Price'];
export type IsPublished = components['schemas']['IsPublished'];
export type ThumbnailUrl = components['schemas']['ThumbnailUrl'];
export type Course = components['schemas']['Course'];
export type CoursePage = components['schemas']['CoursePage'];
export type EnrollmentResponse = components['schemas']['EnrollmentResponse'];
export type ExportedEnrollment = components['schemas']['ExportedEnrollment'];
export type CourseDraft = components['schemas']['CourseDraft'];
export type CourseUpdate = components['schemas']['CourseUpdate'];
export type ThumbnailUpload = components['schemas']['ThumbnailUpload'];
export type Thumbnail = components['schemas']['Thumbnail'];
export type LessonTitle = components['schemas']['LessonTitle'];
export type LessonText = components['schemas']['LessonText'];
export type IsFree = components['schemas']['IsFree'];
export type LessonDraft = components['schemas']['LessonDraft'];
export type LessonUpdate = components['schemas']['LessonUpdate'];
export type LessonOrder = components['schemas']['LessonOrder'];
export type Lesson = components['schemas']['Lesson'];
export type VideoStatus = components['schemas']['VideoStatus'];
export type LessonList = components['schemas']['LessonList'];
export type LessonPosition = components['schemas']['LessonPosition'];
export type LessonProgress = components['schemas']['LessonProgress'];
export type TotalLessons = components['schemas']['TotalLessons'];
export type CompletedLessons = components['schemas']['CompletedLessons'];
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
export type ResponseBadRequest = components['responses']['BadRequest'];
export type ResponseUnauthorized = components['responses']['Unauthorized'];
export type ResponseForbidden = components['responses']['Forbidden'];
export type ResponseNotFound = components['responses']['NotFound'];
export type ResponseConflict = components['responses']['Conflict'];
export type ResponsePreconditionFailed = components['responses']['PreconditionFailed'];
export type ResponseContentTooLarge = components['responses']['ContentTooLarge'];
export type ResponseUnsupportedMediaType = components['responses']['UnsupportedMediaType'];
export type ResponseUnprocessableContent = components['responses']['UnprocessableContent'];
export type ResponseTooManyRequests = components['responses']['TooManyRequests'];
export type ResponseBadGateway = components['responses']['BadGateway'];
export type ResponseServiceUnavailable = components['responses']['ServiceUnavailable'];
export type ResponseProblem = components['responses']['Problem'];
export type ParameterUserId = components['parameters']['userId'];
export type ParameterSanctionId = components['parameters']['sanctionId'];
export type ParameterSessionId = components['parameters']['sessionId'];
export type ParameterAppointmentId = components['parameters']['appointmentId'];
export type ParameterOrderId = components['parameters']['orderId'];
export type ParameterNotificationId = components['parameters']['notificationId'];
export type ParameterCourseId = components['parameters']['courseId'];
export type ParameterLessonId = components['parameters']['lessonId'];
export type ParameterAttachmentId = components['parameters']['attachmentId'];
export type ParameterUploadId = components['parameters']['uploadId'];
export type ParameterDeviceId = components['parameters']['deviceId'];
export type ParameterDocument = components['parameters']['document'];
export type ParameterRefreshCookie = components['parameters']['refreshCookie'];
export type ParameterAuthorizationCookie = components['parameters']['authorizationCookie'];
export type ParameterStripeSignature = components['parameters']['stripeSignature'];
export type ParameterRazorpaySignature = components['parameters']['razorpaySignature'];
export type ParameterRazorpayEventId = components['parameters']['razorpayEventId'];
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
export type HeaderCachePolicy = components['headers']['CachePolicy'];
export type HeaderEntityTag = components['headers']['EntityTag'];
export type HeaderContentDisposition = components['headers']['ContentDisposition'];
export type HeaderSetCookie = components['headers']['SetCookie'];
export type HeaderClearCookie = components['headers']['ClearCookie'];
export type HeaderAuthorizationCookie = components['headers']['AuthorizationCookie'];
export type HeaderClearAuthorizationCookie = components['headers']['ClearAuthorizationCookie'];
export type HeaderXRequestId = components['headers']['XRequestId'];
export type HeaderRetryAfter = components['headers']['RetryAfter'];
export type HeaderRateLimitPolicy = components['headers']['RateLimitPolicy'];
export type HeaderRateLimit = components['headers']['RateLimit'];
export type HeaderWwwAuthenticate = components['headers']['WwwAuthenticate'];
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
                    "X-Request-Id": components["headers"]["XRequestId"];
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["Health"];
                };
            };
            400: components["responses"]["BadRequest"];
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
                    "X-Request-Id": components["headers"]["XRequestId"];
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["Readiness"];
                };
            };
            400: components["responses"]["BadRequest"];
            503: components["responses"]["ServiceUnavailable"];
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
                    "X-Request-Id": components["headers"]["XRequestId"];
                    [name: string]: unknown;
                };
                content: {
                    "text/plain": string;
                };
            };
            400: components["responses"]["BadRequest"];
            404: components["responses"]["NotFound"];
            503: components["responses"]["ServiceUnavailable"];
            default: components["responses"]["Problem"];
        };
    };
    getPolicy: {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description The policy. */
            200: {
                headers: {
                    "Cache-Control": components["headers"]["CachePolicy"];
                    ETag: components["headers"]["EntityTag"];
                    "X-Request-Id": components["headers"]["XRequestId"];
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["Policy"];
                };
            };
            /** @description The policy is the one that `If-None-Match` names. */
            304: {
                headers: {
                    "Cache-Control": components["headers"]["CachePolicy"];
                    ETag: components["headers"]["EntityTag"];
                    [name: string]: unknown;
                };
                content?: never;
            };
            400: components["responses"]["BadRequest"];
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
                    "Cache-Control": components["headers"]["CachePolicy"];
                    "X-Request-Id": components["headers"]["XRequestId"];
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["JsonWebKeySet"];
                };
            };
            400: components["responses"]["BadRequest"];
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
                    "Set-Cookie": components["headers"]["SetCookie"];
                    "X-Request-Id": components["headers"]["XRequestId"];
                    "RateLimit-Policy": components["headers"]["RateLimitPolicy"];
                    RateLimit: components["headers"]["RateLimit"];
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["AuthTokens"];
                };
            };
            400: components["responses"]["BadRequest"];
            /** @description The account is not allowed to do this. */
            403: {
                headers: {
                    "X-Request-Id": components["headers"]["XRequestId"];
                    "Retry-After": components["headers"]["RetryAfter"];
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            409: components["responses"]["Conflict"];
            429: components["responses"]["TooManyRequests"];
            503: components["responses"]["ServiceUnavailable"];
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
                    "Set-Cookie": components["headers"]["SetCookie"];
                    "X-Request-Id": components["headers"]["XRequestId"];
                    "RateLimit-Policy": components["headers"]["RateLimitPolicy"];
                    RateLimit: components["headers"]["RateLimit"];
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["AuthTokens"];
                };
            };
            400: components["responses"]["BadRequest"];
            /** @description No valid access token or credentials. */
            401: {
                headers: {
                    "X-Request-Id": components["headers"]["XRequestId"];
                    "Retry-After": components["headers"]["RetryAfter"];
                    "WWW-Authenticate": components["headers"]["WwwAuthenticate"];
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            /** @description The account is not allowed to do this. */
            403: {
                headers: {
                    "X-Request-Id": components["headers"]["XRequestId"];
                    "Retry-After": components["headers"]["RetryAfter"];
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            429: components["responses"]["TooManyRequests"];
            503: components["responses"]["ServiceUnavailable"];
            default: components["responses"]["Problem"];
        };
    };
    refreshTokens: {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: {
                /**
                 * @description The refresh token of a `web` login. Browsers send it by themselves; scripts cannot read it. Over http, in
                 *     development, its name is `refresh_token`.
                 */
                "__Host-refresh_token"?: components["parameters"]["refreshCookie"];
            };
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
                    "Set-Cookie": components["headers"]["SetCookie"];
                    "X-Request-Id": components["headers"]["XRequestId"];
                    "RateLimit-Policy": components["headers"]["RateLimitPolicy"];
                    RateLimit: components["headers"]["RateLimit"];
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["AuthTokens"];
                };
            };
            400: components["responses"]["BadRequest"];
            /** @description No valid access token or credentials. */
            401: {
                headers: {
                    "X-Request-Id": components["headers"]["XRequestId"];
                    "Retry-After": components["headers"]["RetryAfter"];
                    "WWW-Authenticate": components["headers"]["WwwAuthenticate"];
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            403: components["responses"]["Forbidden"];
            429: components["responses"]["TooManyRequests"];
            503: components["responses"]["ServiceUnavailable"];
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
                    "Set-Cookie": components["headers"]["ClearCookie"];
                    "X-Request-Id": components["headers"]["XRequestId"];
                    [name: string]: unknown;
                };
                content?: never;
            };
            400: components["responses"]["BadRequest"];
            401: components["responses"]["Unauthorized"];
            503: components["responses"]["ServiceUnavailable"];
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
                    "Set-Cookie": components["headers"]["ClearCookie"];
                    "X-Request-Id": components["headers"]["XRequestId"];
                    [name: string]: unknown;
                };
                content?: never;
            };
            400: components["responses"]["BadRequest"];
            401: components["responses"]["Unauthorized"];
            503: components["responses"]["ServiceUnavailable"];
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
                    "X-Request-Id": components["headers"]["XRequestId"];
                    "RateLimit-Policy": components["headers"]["RateLimitPolicy"];
                    RateLimit: components["headers"]["RateLimit"];
                    [name: string]: unknown;
                };
                content?: never;
            };
            400: components["responses"]["BadRequest"];
            429: components["responses"]["TooManyRequests"];
            503: components["responses"]["ServiceUnavailable"];
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
                    "X-Request-Id": components["headers"]["XRequestId"];
                    "RateLimit-Policy": components["headers"]["RateLimitPolicy"];
                    RateLimit: components["headers"]["RateLimit"];
                    [name: string]: unknown;
                };
                content?: never;
            };
            400: components["responses"]["BadRequest"];
            429: components["responses"]["TooManyRequests"];
            503: components["responses"]["ServiceUnavailable"];
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
                    "X-Request-Id": components["headers"]["XRequestId"];
                    "RateLimit-Policy": components["headers"]["RateLimitPolicy"];
                    RateLimit: components["headers"]["RateLimit"];
                    [name: string]: unknown;
                };
                content?: never;
            };
            400: components["responses"]["BadRequest"];
            429: components["responses"]["TooManyRequests"];
            503: components["responses"]["ServiceUnavailable"];
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
                    "X-Request-Id": components["headers"]["XRequestId"];
                    "RateLimit-Policy": components["headers"]["RateLimitPolicy"];
                    RateLimit: components["headers"]["RateLimit"];
                    [name: string]: unknown;
                };
                content?: never;
            };
            400: components["responses"]["BadRequest"];
            401: components["responses"]["Unauthorized"];
            429: components["responses"]["TooManyRequests"];
            503: components["responses"]["ServiceUnavailable"];
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
                    "X-Request-Id": components["headers"]["XRequestId"];
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["DeviceList"];
                };
            };
            400: components["responses"]["BadRequest"];
            401: components["responses"]["Unauthorized"];
            503: components["responses"]["ServiceUnavailable"];
            default: components["responses"]["Problem"];
        };
    };
    logoutDevice: {
        parameters: {
            query?: never;
            header?: never;
            path: {
                /** @description Id of the device, as the app sent it at login. */
                deviceId: components["parameters"]["deviceId"];
            };
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description The device is logged out: its tokens stop working within a second. */
            204: {
                headers: {
                    "X-Request-Id": components["headers"]["XRequestId"];
                    [name: string]: unknown;
                };
                content?: never;
            };
            400: components["responses"]["BadRequest"];
            401: components["responses"]["Unauthorized"];
            404: components["responses"]["NotFound"];
            503: components["responses"]["ServiceUnavailable"];
            default: components["responses"]["Problem"];
        };
    };
    getSecondFactor: {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description The state. */
            200: {
                headers: {
                    "X-Request-Id": components["headers"]["XRequestId"];
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["SecondFactor"];
                };
            };
            400: components["responses"]["BadRequest"];
            401: components["responses"]["Unauthorized"];
            403: components["responses"]["Forbidden"];
            503: components["responses"]["ServiceUnavailable"];
            default: components["responses"]["Problem"];
        };
    };
    createSecondFactor: {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        requestBody: {
            content: {
                "application/json": components["schemas"]["SecondFactorRequest"];
            };
        };
        responses: {
            /** @description The secret, which is returned once. */
            201: {
                headers: {
                    "Cache-Control": components["headers"]["CachePolicy"];
                    "X-Request-Id": components["headers"]["XRequestId"];
                    "RateLimit-Policy": components["headers"]["RateLimitPolicy"];
                    RateLimit: components["headers"]["RateLimit"];
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["SecondFactorSecret"];
                };
            };
            400: components["responses"]["BadRequest"];
            401: components["responses"]["Unauthorized"];
            403: components["responses"]["Forbidden"];
            429: components["responses"]["TooManyRequests"];
            503: components["responses"]["ServiceUnavailable"];
            default: components["responses"]["Problem"];
        };
    };
    deleteSecondFactor: {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description The factor and its recovery codes are removed. */
            204: {
                headers: {
                    "X-Request-Id": components["headers"]["XRequestId"];
                    [name: string]: unknown;
                };
                content?: never;
            };
            400: components["responses"]["BadRequest"];
            401: components["responses"]["Unauthorized"];
            403: components["responses"]["Forbidden"];
            404: components["responses"]["NotFound"];
            503: components["responses"]["ServiceUnavailable"];
            default: components["responses"]["Problem"];
        };
    };
    confirmSecondFactor: {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        requestBody: {
            content: {
                "application/json": components["schemas"]["SecondFactorProofRequest"];
            };
        };
        responses: {
            /** @description The recovery codes, which are returned once, and a new access token. */
            200: {
                headers: {
                    "Cache-Control": components["headers"]["CachePolicy"];
                    "X-Request-Id": components["headers"]["XRequestId"];
                    "RateLimit-Policy": components["headers"]["RateLimitPolicy"];
                    RateLimit: components["headers"]["RateLimit"];
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["SecondFactorConfirmation"];
                };
            };
            400: components["responses"]["BadRequest"];
            401: components["responses"]["Unauthorized"];
            403: components["responses"]["Forbidden"];
            404: components["responses"]["NotFound"];
            429: components["responses"]["TooManyRequests"];
            503: components["responses"]["ServiceUnavailable"];
            default: components["responses"]["Problem"];
        };
    };
    proveSecondFactor: {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        requestBody: {
            content: {
                "application/json": components["schemas"]["SecondFactorAnswer"];
            };
        };
        responses: {
            /** @description The access token; the refresh token stays. */
            200: {
                headers: {
                    "Cache-Control": components["headers"]["CachePolicy"];
                    "X-Request-Id": components["headers"]["XRequestId"];
                    "RateLimit-Policy": components["headers"]["RateLimitPolicy"];
                    RateLimit: components["headers"]["RateLimit"];
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["SecondFactorProof"];
                };
            };
            400: components["responses"]["BadRequest"];
            401: components["responses"]["Unauthorized"];
            403: components["responses"]["Forbidden"];
            404: components["responses"]["NotFound"];
            429: components["responses"]["TooManyRequests"];
            503: components["responses"]["ServiceUnavailable"];
            default: components["responses"]["Problem"];
        };
    };
    createRecoveryCodes: {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description The recovery codes, which are returned once. */
            201: {
                headers: {
                    "Cache-Control": components["headers"]["CachePolicy"];
                    "X-Request-Id": components["headers"]["XRequestId"];
                    "RateLimit-Policy": components["headers"]["RateLimitPolicy"];
                    RateLimit: components["headers"]["RateLimit"];
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["RecoveryCodes"];
                };
            };
            400: components["responses"]["BadRequest"];
            401: components["responses"]["Unauthorized"];
            403: components["responses"]["Forbidden"];
            404: components["responses"]["NotFound"];
            429: components["responses"]["TooManyRequests"];
            503: components["responses"]["ServiceUnavailable"];
            default: components["responses"]["Problem"];
        };
    };
    loginWithIdToken: {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        requestBody: {
            content: {
                "application/json": components["schemas"]["IdTokenLoginRequest"];
            };
        };
        responses: {
            /** @description This device is logged in. */
            200: {
                headers: {
                    "Set-Cookie": components["headers"]["SetCookie"];
                    "X-Request-Id": components["headers"]["XRequestId"];
                    "RateLimit-Policy": components["headers"]["RateLimitPolicy"];
                    RateLimit: components["headers"]["RateLimit"];
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["AuthTokens"];
                };
            };
            400: components["responses"]["BadRequest"];
            /** @description No valid access token or credentials. */
            401: {
                headers: {
                    "X-Request-Id": components["headers"]["XRequestId"];
                    "Retry-After": components["headers"]["RetryAfter"];
                    "WWW-Authenticate": components["headers"]["WwwAuthenticate"];
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            /** @description The account is not allowed to do this. */
            403: {
                headers: {
                    "X-Request-Id": components["headers"]["XRequestId"];
                    "Retry-After": components["headers"]["RetryAfter"];
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            409: components["responses"]["Conflict"];
            429: components["responses"]["TooManyRequests"];
            503: components["responses"]["ServiceUnavailable"];
            default: components["responses"]["Problem"];
        };
    };
    startAuthorization: {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        requestBody: {
            content: {
                "application/json": components["schemas"]["AuthorizationRequest"];
            };
        };
        responses: {
            /** @description The address at the provider. */
            200: {
                headers: {
                    "Set-Cookie": components["headers"]["AuthorizationCookie"];
                    "Cache-Control": components["headers"]["CachePolicy"];
                    "X-Request-Id": components["headers"]["XRequestId"];
                    "RateLimit-Policy": components["headers"]["RateLimitPolicy"];
                    RateLimit: components["headers"]["RateLimit"];
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["Authorization"];
                };
            };
            400: components["responses"]["BadRequest"];
            429: components["responses"]["TooManyRequests"];
            503: components["responses"]["ServiceUnavailable"];
            default: components["responses"]["Problem"];
        };
    };
    exchangeAuthorizationCode: {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: {
                /**
                 * @description What `POST /auth/authorization` has set: browsers send it by themselves. Over http, in development, its name is
                 *     `authorization`.
                 */
                "__Host-authorization"?: components["parameters"]["authorizationCookie"];
            };
        };
        requestBody: {
            content: {
                "application/json": components["schemas"]["AuthorizationCodeRequest"];
            };
        };
        responses: {
            /** @description The ID token, and the nonce that it has. */
            200: {
                headers: {
                    "Set-Cookie": components["headers"]["ClearAuthorizationCookie"];
                    "Cache-Control": components["headers"]["CachePolicy"];
                    "X-Request-Id": components["headers"]["XRequestId"];
                    "RateLimit-Policy": components["headers"]["RateLimitPolicy"];
                    RateLimit: components["headers"]["RateLimit"];
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["AuthorizationTokens"];
                };
            };
            400: components["responses"]["BadRequest"];
            403: components["responses"]["Forbidden"];
            429: components["responses"]["TooManyRequests"];
            503: components["responses"]["ServiceUnavailable"];
            default: components["responses"]["Problem"];
        };
    };
    linkIdentity: {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        requestBody: {
            content: {
                "application/json": components["schemas"]["IdentityRequest"];
            };
        };
        responses: {
            /** @description The identity is linked. */
            201: {
                headers: {
                    "X-Request-Id": components["headers"]["XRequestId"];
                    "RateLimit-Policy": components["headers"]["RateLimitPolicy"];
                    RateLimit: components["headers"]["RateLimit"];
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["Identity"];
                };
            };
            400: components["responses"]["BadRequest"];
            401: components["responses"]["Unauthorized"];
            /** @description The account is not allowed to do this. */
            403: {
                headers: {
                    "X-Request-Id": components["headers"]["XRequestId"];
                    "Retry-After": components["headers"]["RetryAfter"];
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            /** @description The state of the resource does not allow this; the code says which state. */
            409: {
                headers: {
                    "X-Request-Id": components["headers"]["XRequestId"];
                    "Retry-After": components["headers"]["RetryAfter"];
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            429: components["responses"]["TooManyRequests"];
            503: components["responses"]["ServiceUnavailable"];
            default: components["responses"]["Problem"];
        };
    };
    unlinkIdentity: {
        parameters: {
            query?: never;
            header?: never;
            path: {
                /** @description Id of the identity. */
                identityId: components["schemas"]["Id"];
            };
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description The identity is removed. */
            204: {
                headers: {
                    "X-Request-Id": components["headers"]["XRequestId"];
                    "RateLimit-Policy": components["headers"]["RateLimitPolicy"];
                    RateLimit: components["headers"]["RateLimit"];
                    [name: string]: unknown;
                };
                content?: never;
            };
            400: components["responses"]["BadRequest"];
            401: components["responses"]["Unauthorized"];
            404: components["responses"]["NotFound"];
            /** @description The state of the resource does not allow this; the code says which state. */
            409: {
                headers: {
                    "X-Request-Id": components["headers"]["XRequestId"];
                    "Retry-After": components["headers"]["RetryAfter"];
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            429: components["responses"]["TooManyRequests"];
            503: components["responses"]["ServiceUnavailable"];
            default: components["responses"]["Problem"];
        };
    };
    createPasskeyChallenge: {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description A challenge, which is answered once within five minutes. */
            200: {
                headers: {
                    "Cache-Control": components["headers"]["CachePolicy"];
                    "X-Request-Id": components["headers"]["XRequestId"];
                    "RateLimit-Policy": components["headers"]["RateLimitPolicy"];
                    RateLimit: components["headers"]["RateLimit"];
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["PasskeyChallenge"];
                };
            };
            400: components["responses"]["BadRequest"];
            404: components["responses"]["NotFound"];
            429: components["responses"]["TooManyRequests"];
            503: components["responses"]["ServiceUnavailable"];
            default: components["responses"]["Problem"];
        };
    };
    loginWithPasskey: {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        requestBody: {
            content: {
                "application/json": components["schemas"]["PasskeyLoginRequest"];
            };
        };
        responses: {
            /** @description This device is logged in. */
            200: {
                headers: {
                    "Set-Cookie": components["headers"]["SetCookie"];
                    "X-Request-Id": components["headers"]["XRequestId"];
                    "RateLimit-Policy": components["headers"]["RateLimitPolicy"];
                    RateLimit: components["headers"]["RateLimit"];
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["AuthTokens"];
                };
            };
            400: components["responses"]["BadRequest"];
            /** @description No valid access token or credentials. */
            401: {
                headers: {
                    "X-Request-Id": components["headers"]["XRequestId"];
                    "Retry-After": components["headers"]["RetryAfter"];
                    "WWW-Authenticate": components["headers"]["WwwAuthenticate"];
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            /** @description The account is not allowed to do this. */
            403: {
                headers: {
                    "X-Request-Id": components["headers"]["XRequestId"];
                    "Retry-After": components["headers"]["RetryAfter"];
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            429: components["responses"]["TooManyRequests"];
            503: components["responses"]["ServiceUnavailable"];
            default: components["responses"]["Problem"];
        };
    };
    createPasskeyRegistration: {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        requestBody: {
            content: {
                "application/json": components["schemas"]["PasskeyRegistrationRequest"];
            };
        };
        responses: {
            /** @description A challenge, which is answered once within five minutes. */
            200: {
                headers: {
                    "Cache-Control": components["headers"]["CachePolicy"];
                    "X-Request-Id": components["headers"]["XRequestId"];
                    "RateLimit-Policy": components["headers"]["RateLimitPolicy"];
                    RateLimit: components["headers"]["RateLimit"];
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["PasskeyChallenge"];
                };
            };
            400: components["responses"]["BadRequest"];
            401: components["responses"]["Unauthorized"];
            /** @description The account is not allowed to do this. */
            403: {
                headers: {
                    "X-Request-Id": components["headers"]["XRequestId"];
                    "Retry-After": components["headers"]["RetryAfter"];
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            404: components["responses"]["NotFound"];
            /** @description The state of the resource does not allow this; the code says which state. */
            409: {
                headers: {
                    "X-Request-Id": components["headers"]["XRequestId"];
                    "Retry-After": components["headers"]["RetryAfter"];
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            429: components["responses"]["TooManyRequests"];
            503: components["responses"]["ServiceUnavailable"];
            default: components["responses"]["Problem"];
        };
    };
    addPasskey: {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        requestBody: {
            content: {
                "application/json": components["schemas"]["PasskeyRegistration"];
            };
        };
        responses: {
            /** @description The passkey. */
            201: {
                headers: {
                    "X-Request-Id": components["headers"]["XRequestId"];
                    "RateLimit-Policy": components["headers"]["RateLimitPolicy"];
                    RateLimit: components["headers"]["RateLimit"];
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["Passkey"];
                };
            };
            400: components["responses"]["BadRequest"];
            401: components["responses"]["Unauthorized"];
            /** @description The account is not allowed to do this. */
            403: {
                headers: {
                    "X-Request-Id": components["headers"]["XRequestId"];
                    "Retry-After": components["headers"]["RetryAfter"];
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            /** @description The state of the resource does not allow this; the code says which state. */
            409: {
                headers: {
                    "X-Request-Id": components["headers"]["XRequestId"];
                    "Retry-After": components["headers"]["RetryAfter"];
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            429: components["responses"]["TooManyRequests"];
            503: components["responses"]["ServiceUnavailable"];
            default: components["responses"]["Problem"];
        };
    };
    removePasskey: {
        parameters: {
            query?: never;
            header?: never;
            path: {
                /** @description The id of the passkey. */
                passkeyId: components["schemas"]["PasskeyId"];
            };
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description The passkey is removed. */
            204: {
                headers: {
                    "X-Request-Id": components["headers"]["XRequestId"];
                    "RateLimit-Policy": components["headers"]["RateLimitPolicy"];
                    RateLimit: components["headers"]["RateLimit"];
                    [name: string]: unknown;
                };
                content?: never;
            };
            400: components["responses"]["BadRequest"];
            401: components["responses"]["Unauthorized"];
            /** @description The account is not allowed to do this. */
            403: {
                headers: {
                    "X-Request-Id": components["headers"]["XRequestId"];
                    "Retry-After": components["headers"]["RetryAfter"];
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            404: components["responses"]["NotFound"];
            /** @description The state of the resource does not allow this; the code says which state. */
            409: {
                headers: {
                    "X-Request-Id": components["headers"]["XRequestId"];
                    "Retry-After": components["headers"]["RetryAfter"];
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            429: components["responses"]["TooManyRequests"];
            503: components["responses"]["ServiceUnavailable"];
            default: components["responses"]["Problem"];
        };
    };
    getLoginMethods: {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description The ways to log in. */
            200: {
                headers: {
                    "Cache-Control": components["headers"]["CachePolicy"];
                    "X-Request-Id": components["headers"]["XRequestId"];
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["LoginMethods"];
                };
            };
            400: components["responses"]["BadRequest"];
            default: components["responses"]["Problem"];
        };
    };
    requestEmailCode: {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        requestBody: {
            content: {
                "application/json": components["schemas"]["EmailCodeRequest"];
            };
        };
        responses: {
            /** @description The mail is on its way. */
            202: {
                headers: {
                    "X-Request-Id": components["headers"]["XRequestId"];
                    "RateLimit-Policy": components["headers"]["RateLimitPolicy"];
                    RateLimit: components["headers"]["RateLimit"];
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["EmailChallenge"];
                };
            };
            400: components["responses"]["BadRequest"];
            404: components["responses"]["NotFound"];
            429: components["responses"]["TooManyRequests"];
            503: components["responses"]["ServiceUnavailable"];
            default: components["responses"]["Problem"];
        };
    };
    loginWithEmailCode: {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        requestBody: {
            content: {
                "application/json": components["schemas"]["EmailCodeLoginRequest"];
            };
        };
        responses: {
            /** @description This device is logged in. */
            200: {
                headers: {
                    "Set-Cookie": components["headers"]["SetCookie"];
                    "X-Request-Id": components["headers"]["XRequestId"];
                    "RateLimit-Policy": components["headers"]["RateLimitPolicy"];
                    RateLimit: components["headers"]["RateLimit"];
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["AuthTokens"];
                };
            };
            400: components["responses"]["BadRequest"];
            /** @description No valid access token or credentials. */
            401: {
                headers: {
                    "X-Request-Id": components["headers"]["XRequestId"];
                    "Retry-After": components["headers"]["RetryAfter"];
                    "WWW-Authenticate": components["headers"]["WwwAuthenticate"];
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            /** @description The account is not allowed to do this. */
            403: {
                headers: {
                    "X-Request-Id": components["headers"]["XRequestId"];
                    "Retry-After": components["headers"]["RetryAfter"];
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            404: components["responses"]["NotFound"];
            409: components["responses"]["Conflict"];
            429: components["responses"]["TooManyRequests"];
            503: components["responses"]["ServiceUnavailable"];
            default: components["responses"]["Problem"];
        };
    };
    undoEmailChange: {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        requestBody: {
            content: {
                "application/json": components["schemas"]["EmailChangeUndoRequest"];
            };
        };
        responses: {
            /** @description The account has its earlier address. */
            204: {
                headers: {
                    "X-Request-Id": components["headers"]["XRequestId"];
                    "RateLimit-Policy": components["headers"]["RateLimitPolicy"];
                    RateLimit: components["headers"]["RateLimit"];
                    [name: string]: unknown;
                };
                content?: never;
            };
            400: components["responses"]["BadRequest"];
            429: components["responses"]["TooManyRequests"];
            503: components["responses"]["ServiceUnavailable"];
            default: components["responses"]["Problem"];
        };
    };
    getMyLoginMethods: {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description The ways to log in. */
            200: {
                headers: {
                    "X-Request-Id": components["headers"]["XRequestId"];
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["MyLoginMethods"];
                };
            };
            400: components["responses"]["BadRequest"];
            401: components["responses"]["Unauthorized"];
            503: components["responses"]["ServiceUnavailable"];
            default: components["responses"]["Problem"];
        };
    };
    changePassword: {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        requestBody: {
            content: {
                "application/json": components["schemas"]["PasswordChangeRequest"];
            };
        };
        responses: {
            /** @description The password is set. This device stays logged in. */
            204: {
                headers: {
                    "X-Request-Id": components["headers"]["XRequestId"];
                    "RateLimit-Policy": components["headers"]["RateLimitPolicy"];
                    RateLimit: components["headers"]["RateLimit"];
                    [name: string]: unknown;
                };
                content?: never;
            };
            400: components["responses"]["BadRequest"];
            401: components["responses"]["Unauthorized"];
            429: components["responses"]["TooManyRequests"];
            503: components["responses"]["ServiceUnavailable"];
            default: components["responses"]["Problem"];
        };
    };
    requestEmailChange: {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        requestBody: {
            content: {
                "application/json": components["schemas"]["EmailChangeRequest"];
            };
        };
        responses: {
            /** @description The mail with the code is on its way. */
            202: {
                headers: {
                    "X-Request-Id": components["headers"]["XRequestId"];
                    "RateLimit-Policy": components["headers"]["RateLimitPolicy"];
                    RateLimit: components["headers"]["RateLimit"];
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["EmailChallenge"];
                };
            };
            400: components["responses"]["BadRequest"];
            401: components["responses"]["Unauthorized"];
            /** @description The account is not allowed to do this. */
            403: {
                headers: {
                    "X-Request-Id": components["headers"]["XRequestId"];
                    "Retry-After": components["headers"]["RetryAfter"];
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            429: components["responses"]["TooManyRequests"];
            503: components["responses"]["ServiceUnavailable"];
            default: components["responses"]["Problem"];
        };
    };
    confirmEmailChange: {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        requestBody: {
            content: {
                "application/json": components["schemas"]["EmailChangeConfirmation"];
            };
        };
        responses: {
            /** @description The account has the new address. */
            204: {
                headers: {
                    "X-Request-Id": components["headers"]["XRequestId"];
                    "RateLimit-Policy": components["headers"]["RateLimitPolicy"];
                    RateLimit: components["headers"]["RateLimit"];
                    [name: string]: unknown;
                };
                content?: never;
            };
            400: components["responses"]["BadRequest"];
            401: components["responses"]["Unauthorized"];
            /** @description The account is not allowed to do this. */
            403: {
                headers: {
                    "X-Request-Id": components["headers"]["XRequestId"];
                    "Retry-After": components["headers"]["RetryAfter"];
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            409: components["responses"]["Conflict"];
            429: components["responses"]["TooManyRequests"];
            503: components["responses"]["ServiceUnavailable"];
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
            /** @description The user's own profile. */
            200: {
                headers: {
                    "X-Request-Id": components["headers"]["XRequestId"];
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["Me"];
                };
            };
            400: components["responses"]["BadRequest"];
            401: components["responses"]["Unauthorized"];
            503: components["responses"]["ServiceUnavailable"];
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
            /** @description The user's own profile. */
            200: {
                headers: {
                    "X-Request-Id": components["headers"]["XRequestId"];
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["Me"];
                };
            };
            400: components["responses"]["BadRequest"];
            401: components["responses"]["Unauthorized"];
            /** @description The account is not allowed to do this. */
            403: {
                headers: {
                    "X-Request-Id": components["headers"]["XRequestId"];
                    "Retry-After": components["headers"]["RetryAfter"];
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            /** @description The state of the resource does not allow this; the code says which state. */
            409: {
                headers: {
                    "X-Request-Id": components["headers"]["XRequestId"];
                    "Retry-After": components["headers"]["RetryAfter"];
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            503: components["responses"]["ServiceUnavailable"];
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
                    "X-Request-Id": components["headers"]["XRequestId"];
                    "RateLimit-Policy": components["headers"]["RateLimitPolicy"];
                    RateLimit: components["headers"]["RateLimit"];
                    [name: string]: unknown;
                };
                content?: never;
            };
            400: components["responses"]["BadRequest"];
            401: components["responses"]["Unauthorized"];
            403: components["responses"]["Forbidden"];
            429: components["responses"]["TooManyRequests"];
            503: components["responses"]["ServiceUnavailable"];
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
                    "Content-Disposition": components["headers"]["ContentDisposition"];
                    "X-Request-Id": components["headers"]["XRequestId"];
                    "RateLimit-Policy": components["headers"]["RateLimitPolicy"];
                    RateLimit: components["headers"]["RateLimit"];
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["DataExport"];
                };
            };
            400: components["responses"]["BadRequest"];
            401: components["responses"]["Unauthorized"];
            429: components["responses"]["TooManyRequests"];
            503: components["responses"]["ServiceUnavailable"];
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
                    "X-Request-Id": components["headers"]["XRequestId"];
                    "RateLimit-Policy": components["headers"]["RateLimitPolicy"];
                    RateLimit: components["headers"]["RateLimit"];
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["Avatar"];
                };
            };
            400: components["responses"]["BadRequest"];
            401: components["responses"]["Unauthorized"];
            /** @description The account is not allowed to do this. */
            403: {
                headers: {
                    "X-Request-Id": components["headers"]["XRequestId"];
                    "Retry-After": components["headers"]["RetryAfter"];
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            413: components["responses"]["ContentTooLarge"];
            415: components["responses"]["UnsupportedMediaType"];
            429: components["responses"]["TooManyRequests"];
            503: components["responses"]["ServiceUnavailable"];
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
                    "X-Request-Id": components["headers"]["XRequestId"];
                    [name: string]: unknown;
                };
                content?: never;
            };
            400: components["responses"]["BadRequest"];
            401: components["responses"]["Unauthorized"];
            503: components["responses"]["ServiceUnavailable"];
            default: components["responses"]["Problem"];
        };
    };
    setAge: {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        requestBody: {
            content: {
                "application/json": components["schemas"]["AgeDeclaration"];
            };
        };
        responses: {
            /** @description The user's own profile. */
            200: {
                headers: {
                    "X-Request-Id": components["headers"]["XRequestId"];
                    "RateLimit-Policy": components["headers"]["RateLimitPolicy"];
                    RateLimit: components["headers"]["RateLimit"];
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["Me"];
                };
            };
            400: components["responses"]["BadRequest"];
            401: components["responses"]["Unauthorized"];
            /** @description The account is not allowed to do this. */
            403: {
                headers: {
                    "X-Request-Id": components["headers"]["XRequestId"];
                    "Retry-After": components["headers"]["RetryAfter"];
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            429: components["responses"]["TooManyRequests"];
            503: components["responses"]["ServiceUnavailable"];
            default: components["responses"]["Problem"];
        };
    };
    listConsents: {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description The documents. */
            200: {
                headers: {
                    "X-Request-Id": components["headers"]["XRequestId"];
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["ConsentList"];
                };
            };
            400: components["responses"]["BadRequest"];
            401: components["responses"]["Unauthorized"];
            503: components["responses"]["ServiceUnavailable"];
            default: components["responses"]["Problem"];
        };
    };
    giveConsent: {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        requestBody: {
            content: {
                "application/json": components["schemas"]["ConsentRequest"];
            };
        };
        responses: {
            /** @description The consent is recorded. */
            204: {
                headers: {
                    "X-Request-Id": components["headers"]["XRequestId"];
                    "RateLimit-Policy": components["headers"]["RateLimitPolicy"];
                    RateLimit: components["headers"]["RateLimit"];
                    [name: string]: unknown;
                };
                content?: never;
            };
            400: components["responses"]["BadRequest"];
            401: components["responses"]["Unauthorized"];
            429: components["responses"]["TooManyRequests"];
            503: components["responses"]["ServiceUnavailable"];
            default: components["responses"]["Problem"];
        };
    };
    withdrawConsent: {
        parameters: {
            query?: never;
            header?: never;
            path: {
                /** @description Name of the document. */
                document: components["parameters"]["document"];
            };
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description The consent is withdrawn. */
            204: {
                headers: {
                    "X-Request-Id": components["headers"]["XRequestId"];
                    "RateLimit-Policy": components["headers"]["RateLimitPolicy"];
                    RateLimit: components["headers"]["RateLimit"];
                    [name: string]: unknown;
                };
                content?: never;
            };
            400: components["responses"]["BadRequest"];
            401: components["responses"]["Unauthorized"];
            404: components["responses"]["NotFound"];
            429: components["responses"]["TooManyRequests"];
            503: components["responses"]["ServiceUnavailable"];
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
                    "X-Request-Id": components["headers"]["XRequestId"];
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["BlockPage"];
                };
            };
            400: components["responses"]["BadRequest"];
            401: components["responses"]["Unauthorized"];
            503: components["responses"]["ServiceUnavailable"];
            default: components["responses"]["Problem"];
        };
    };
    getUser: {
        parameters: {
            query?: never;
            header?: never;
            path: {
                /** @description Id of the user. */
                userId: components["parameters"]["userId"];
            };
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description The public profile. */
            200: {
                headers: {
                    "X-Request-Id": components["headers"]["XRequestId"];
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["PublicProfile"];
                };
            };
            400: components["responses"]["BadRequest"];
            401: components["responses"]["Unauthorized"];
            404: components["responses"]["NotFound"];
            503: components["responses"]["ServiceUnavailable"];
            default: components["responses"]["Problem"];
        };
    };
    blockUser: {
        parameters: {
            query?: never;
            header?: never;
            path: {
                /** @description Id of the user. */
                userId: components["parameters"]["userId"];
            };
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description Blocked. */
            204: {
                headers: {
                    "X-Request-Id": components["headers"]["XRequestId"];
                    [name: string]: unknown;
                };
                content?: never;
            };
            400: components["responses"]["BadRequest"];
            401: components["responses"]["Unauthorized"];
            404: components["responses"]["NotFound"];
            503: components["responses"]["ServiceUnavailable"];
            default: components["responses"]["Problem"];
        };
    };
    unblockUser: {
        parameters: {
            query?: never;
            header?: never;
            path: {
                /** @description Id of the user. */
                userId: components["parameters"]["userId"];
            };
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description Unblocked. */
            204: {
                headers: {
                    "X-Request-Id": components["headers"]["XRequestId"];
                    [name: string]: unknown;
                };
                content?: never;
            };
            400: components["responses"]["BadRequest"];
            401: components["responses"]["Unauthorized"];
            404: components["responses"]["NotFound"];
            503: components["responses"]["ServiceUnavailable"];
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
                    "X-Request-Id": components["headers"]["XRequestId"];
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["CallPage"];
                };
            };
            400: components["responses"]["BadRequest"];
            401: components["responses"]["Unauthorized"];
            503: components["responses"]["ServiceUnavailable"];
            default: components["responses"]["Problem"];
        };
    };
    getCall: {
        parameters: {
            query?: never;
            header?: never;
            path: {
                /** @description Id of the call. */
                sessionId: components["parameters"]["sessionId"];
            };
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description The call. */
            200: {
                headers: {
                    "X-Request-Id": components["headers"]["XRequestId"];
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["Call"];
                };
            };
            400: components["responses"]["BadRequest"];
            401: components["responses"]["Unauthorized"];
            404: components["responses"]["NotFound"];
            503: components["responses"]["ServiceUnavailable"];
            default: components["responses"]["Problem"];
        };
    };
    rateCall: {
        parameters: {
            query?: never;
            header?: never;
            path: {
                /** @description Id of the call. */
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
                    "X-Request-Id": components["headers"]["XRequestId"];
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["Call"];
                };
            };
            400: components["responses"]["BadRequest"];
            401: components["responses"]["Unauthorized"];
            404: components["responses"]["NotFound"];
            /** @description The state of the resource does not allow this; the code says which state. */
            409: {
                headers: {
                    "X-Request-Id": components["headers"]["XRequestId"];
                    "Retry-After": components["headers"]["RetryAfter"];
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            503: components["responses"]["ServiceUnavailable"];
            default: components["responses"]["Problem"];
        };
    };
    listPartners: {
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
            /** @description A page of partners. */
            200: {
                headers: {
                    "X-Request-Id": components["headers"]["XRequestId"];
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["PartnershipPage"];
                };
            };
            400: components["responses"]["BadRequest"];
            401: components["responses"]["Unauthorized"];
            503: components["responses"]["ServiceUnavailable"];
            default: components["responses"]["Problem"];
        };
    };
    askPartner: {
        parameters: {
            query?: never;
            header?: never;
            path: {
                /** @description Id of the user. */
                userId: components["parameters"]["userId"];
            };
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description Asked. */
            204: {
                headers: {
                    "X-Request-Id": components["headers"]["XRequestId"];
                    "RateLimit-Policy": components["headers"]["RateLimitPolicy"];
                    RateLimit: components["headers"]["RateLimit"];
                    [name: string]: unknown;
                };
                content?: never;
            };
            400: components["responses"]["BadRequest"];
            401: components["responses"]["Unauthorized"];
            404: components["responses"]["NotFound"];
            /** @description The state of the resource does not allow this; the code says which state. */
            409: {
                headers: {
                    "X-Request-Id": components["headers"]["XRequestId"];
                    "Retry-After": components["headers"]["RetryAfter"];
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            429: components["responses"]["TooManyRequests"];
            503: components["responses"]["ServiceUnavailable"];
            default: components["responses"]["Problem"];
        };
    };
    removePartner: {
        parameters: {
            query?: never;
            header?: never;
            path: {
                /** @description Id of the user. */
                userId: components["parameters"]["userId"];
            };
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description Removed. */
            204: {
                headers: {
                    "X-Request-Id": components["headers"]["XRequestId"];
                    "RateLimit-Policy": components["headers"]["RateLimitPolicy"];
                    RateLimit: components["headers"]["RateLimit"];
                    [name: string]: unknown;
                };
                content?: never;
            };
            400: components["responses"]["BadRequest"];
            401: components["responses"]["Unauthorized"];
            429: components["responses"]["TooManyRequests"];
            503: components["responses"]["ServiceUnavailable"];
            default: components["responses"]["Problem"];
        };
    };
    listAppointments: {
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
            /** @description A page of appointments. */
            200: {
                headers: {
                    "X-Request-Id": components["headers"]["XRequestId"];
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["AppointmentPage"];
                };
            };
            400: components["responses"]["BadRequest"];
            401: components["responses"]["Unauthorized"];
            503: components["responses"]["ServiceUnavailable"];
            default: components["responses"]["Problem"];
        };
    };
    proposeAppointment: {
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
                "application/json": components["schemas"]["AppointmentProposal"];
            };
        };
        responses: {
            /** @description The appointment. */
            201: {
                headers: {
                    "X-Request-Id": components["headers"]["XRequestId"];
                    "RateLimit-Policy": components["headers"]["RateLimitPolicy"];
                    RateLimit: components["headers"]["RateLimit"];
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["Appointment"];
                };
            };
            400: components["responses"]["BadRequest"];
            401: components["responses"]["Unauthorized"];
            /** @description The account is not allowed to do this. */
            403: {
                headers: {
                    "X-Request-Id": components["headers"]["XRequestId"];
                    "Retry-After": components["headers"]["RetryAfter"];
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            404: components["responses"]["NotFound"];
            /** @description The state of the resource does not allow this; the code says which state. */
            409: {
                headers: {
                    "X-Request-Id": components["headers"]["XRequestId"];
                    "Retry-After": components["headers"]["RetryAfter"];
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            422: components["responses"]["UnprocessableContent"];
            429: components["responses"]["TooManyRequests"];
            503: components["responses"]["ServiceUnavailable"];
            default: components["responses"]["Problem"];
        };
    };
    cancelAppointment: {
        parameters: {
            query?: never;
            header?: never;
            path: {
                /** @description Id of the appointment. */
                appointmentId: components["parameters"]["appointmentId"];
            };
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description Cancelled. */
            204: {
                headers: {
                    "X-Request-Id": components["headers"]["XRequestId"];
                    [name: string]: unknown;
                };
                content?: never;
            };
            400: components["responses"]["BadRequest"];
            401: components["responses"]["Unauthorized"];
            404: components["responses"]["NotFound"];
            /** @description The state of the resource does not allow this; the code says which state. */
            409: {
                headers: {
                    "X-Request-Id": components["headers"]["XRequestId"];
                    "Retry-After": components["headers"]["RetryAfter"];
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            503: components["responses"]["ServiceUnavailable"];
            default: components["responses"]["Problem"];
        };
    };
    acceptAppointment: {
        parameters: {
            query?: never;
            header?: never;
            path: {
                /** @description Id of the appointment. */
                appointmentId: components["parameters"]["appointmentId"];
            };
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description The appointment. */
            200: {
                headers: {
                    "X-Request-Id": components["headers"]["XRequestId"];
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["Appointment"];
                };
            };
            400: components["responses"]["BadRequest"];
            401: components["responses"]["Unauthorized"];
            /** @description The account is not allowed to do this. */
            403: {
                headers: {
                    "X-Request-Id": components["headers"]["XRequestId"];
                    "Retry-After": components["headers"]["RetryAfter"];
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            404: components["responses"]["NotFound"];
            /** @description The state of the resource does not allow this; the code says which state. */
            409: {
                headers: {
                    "X-Request-Id": components["headers"]["XRequestId"];
                    "Retry-After": components["headers"]["RetryAfter"];
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            503: components["responses"]["ServiceUnavailable"];
            default: components["responses"]["Problem"];
        };
    };
    declineAppointment: {
        parameters: {
            query?: never;
            header?: never;
            path: {
                /** @description Id of the appointment. */
                appointmentId: components["parameters"]["appointmentId"];
            };
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description The appointment. */
            200: {
                headers: {
                    "X-Request-Id": components["headers"]["XRequestId"];
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["Appointment"];
                };
            };
            400: components["responses"]["BadRequest"];
            401: components["responses"]["Unauthorized"];
            404: components["responses"]["NotFound"];
            /** @description The state of the resource does not allow this; the code says which state. */
            409: {
                headers: {
                    "X-Request-Id": components["headers"]["XRequestId"];
                    "Retry-After": components["headers"]["RetryAfter"];
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            503: components["responses"]["ServiceUnavailable"];
            default: components["responses"]["Problem"];
        };
    };
    createReport: {
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
                "application/json": components["schemas"]["ReportRequest"];
            };
        };
        responses: {
            /** @description The report. */
            201: {
                headers: {
                    "X-Request-Id": components["headers"]["XRequestId"];
                    "RateLimit-Policy": components["headers"]["RateLimitPolicy"];
                    RateLimit: components["headers"]["RateLimit"];
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["Report"];
                };
            };
            400: components["responses"]["BadRequest"];
            401: components["responses"]["Unauthorized"];
            404: components["responses"]["NotFound"];
            /** @description The state of the resource does not allow this; the code says which state. */
            409: {
                headers: {
                    "X-Request-Id": components["headers"]["XRequestId"];
                    "Retry-After": components["headers"]["RetryAfter"];
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            422: components["responses"]["UnprocessableContent"];
            429: components["responses"]["TooManyRequests"];
            503: components["responses"]["ServiceUnavailable"];
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
                    "X-Request-Id": components["headers"]["XRequestId"];
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["ReportPage"];
                };
            };
            400: components["responses"]["BadRequest"];
            401: components["responses"]["Unauthorized"];
            503: components["responses"]["ServiceUnavailable"];
            default: components["responses"]["Problem"];
        };
    };
    listMySanctions: {
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
            /** @description A page of sanctions. */
            200: {
                headers: {
                    "X-Request-Id": components["headers"]["XRequestId"];
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["SanctionPage"];
                };
            };
            400: components["responses"]["BadRequest"];
            401: components["responses"]["Unauthorized"];
            503: components["responses"]["ServiceUnavailable"];
            default: components["responses"]["Problem"];
        };
    };
    acknowledgeWarning: {
        parameters: {
            query?: never;
            header?: never;
            path: {
                /** @description Id of the sanction. */
                sanctionId: components["parameters"]["sanctionId"];
            };
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description Confirmed. */
            204: {
                headers: {
                    "X-Request-Id": components["headers"]["XRequestId"];
                    [name: string]: unknown;
                };
                content?: never;
            };
            400: components["responses"]["BadRequest"];
            401: components["responses"]["Unauthorized"];
            404: components["responses"]["NotFound"];
            503: components["responses"]["ServiceUnavailable"];
            default: components["responses"]["Problem"];
        };
    };
    appealMySanction: {
        parameters: {
            query?: never;
            header?: never;
            path: {
                /** @description Id of the sanction. */
                sanctionId: components["parameters"]["sanctionId"];
            };
            cookie?: never;
        };
        requestBody: {
            content: {
                "application/json": components["schemas"]["AppealText"];
            };
        };
        responses: {
            /** @description The appeal. */
            201: {
                headers: {
                    "X-Request-Id": components["headers"]["XRequestId"];
                    "RateLimit-Policy": components["headers"]["RateLimitPolicy"];
                    RateLimit: components["headers"]["RateLimit"];
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["Appeal"];
                };
            };
            400: components["responses"]["BadRequest"];
            401: components["responses"]["Unauthorized"];
            404: components["responses"]["NotFound"];
            /** @description The state of the resource does not allow this; the code says which state. */
            409: {
                headers: {
                    "X-Request-Id": components["headers"]["XRequestId"];
                    "Retry-After": components["headers"]["RetryAfter"];
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            429: components["responses"]["TooManyRequests"];
            503: components["responses"]["ServiceUnavailable"];
            default: components["responses"]["Problem"];
        };
    };
    submitAppeal: {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        requestBody: {
            content: {
                "application/json": components["schemas"]["AppealRequest"];
            };
        };
        responses: {
            /** @description The appeal. */
            201: {
                headers: {
                    "X-Request-Id": components["headers"]["XRequestId"];
                    "RateLimit-Policy": components["headers"]["RateLimitPolicy"];
                    RateLimit: components["headers"]["RateLimit"];
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["Appeal"];
                };
            };
            400: components["responses"]["BadRequest"];
            /** @description The state of the resource does not allow this; the code says which state. */
            409: {
                headers: {
                    "X-Request-Id": components["headers"]["XRequestId"];
                    "Retry-After": components["headers"]["RetryAfter"];
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            429: components["responses"]["TooManyRequests"];
            503: components["responses"]["ServiceUnavailable"];
            default: components["responses"]["Problem"];
        };
    };
    readSanction: {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        requestBody: {
            content: {
                "application/json": components["schemas"]["AppealTokenRequest"];
            };
        };
        responses: {
            /** @description The sanction. */
            200: {
                headers: {
                    "X-Request-Id": components["headers"]["XRequestId"];
                    "RateLimit-Policy": components["headers"]["RateLimitPolicy"];
                    RateLimit: components["headers"]["RateLimit"];
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["Sanction"];
                };
            };
            400: components["responses"]["BadRequest"];
            429: components["responses"]["TooManyRequests"];
            503: components["responses"]["ServiceUnavailable"];
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
                    "X-Request-Id": components["headers"]["XRequestId"];
                    "RateLimit-Policy": components["headers"]["RateLimitPolicy"];
                    RateLimit: components["headers"]["RateLimit"];
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["Checkout"];
                };
            };
            400: components["responses"]["BadRequest"];
            401: components["responses"]["Unauthorized"];
            404: components["responses"]["NotFound"];
            /** @description The state of the resource does not allow this; the code says which state. */
            409: {
                headers: {
                    "X-Request-Id": components["headers"]["XRequestId"];
                    "Retry-After": components["headers"]["RetryAfter"];
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            422: components["responses"]["UnprocessableContent"];
            429: components["responses"]["TooManyRequests"];
            502: components["responses"]["BadGateway"];
            503: components["responses"]["ServiceUnavailable"];
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
                    "X-Request-Id": components["headers"]["XRequestId"];
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["OrderPage"];
                };
            };
            400: components["responses"]["BadRequest"];
            401: components["responses"]["Unauthorized"];
            503: components["responses"]["ServiceUnavailable"];
            default: components["responses"]["Problem"];
        };
    };
    getOrder: {
        parameters: {
            query?: never;
            header?: never;
            path: {
                /** @description Id of the order. */
                orderId: components["parameters"]["orderId"];
            };
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description The order. */
            200: {
                headers: {
                    "X-Request-Id": components["headers"]["XRequestId"];
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["Order"];
                };
            };
            400: components["responses"]["BadRequest"];
            401: components["responses"]["Unauthorized"];
            404: components["responses"]["NotFound"];
            503: components["responses"]["ServiceUnavailable"];
            default: components["responses"]["Problem"];
        };
    };
    receivePaymentWebhook: {
        parameters: {
            query?: never;
            header?: {
                /** @description Stripe's signature of the body; required for its events. */
                "Stripe-Signature"?: components["parameters"]["stripeSignature"];
                /** @description Razorpay's signature of the body; required for its events. */
                "X-Razorpay-Signature"?: components["parameters"]["razorpaySignature"];
                /** @description Razorpay's id of the event; required for its events, which are processed once for each id. */
                "X-Razorpay-Event-Id"?: components["parameters"]["razorpayEventId"];
            };
            path?: never;
            cookie?: never;
        };
        requestBody: {
            content: {
                "application/json": components["schemas"]["ProviderEvent"];
            };
        };
        responses: {
            /** @description The event is acknowledged. */
            200: {
                headers: {
                    "X-Request-Id": components["headers"]["XRequestId"];
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["WebhookReceipt"];
                };
            };
            400: components["responses"]["BadRequest"];
            413: components["responses"]["ContentTooLarge"];
            503: components["responses"]["ServiceUnavailable"];
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
                    "X-Request-Id": components["headers"]["XRequestId"];
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["NotificationPage"];
                };
            };
            400: components["responses"]["BadRequest"];
            401: components["responses"]["Unauthorized"];
            503: components["responses"]["ServiceUnavailable"];
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
                    "X-Request-Id": components["headers"]["XRequestId"];
                    [name: string]: unknown;
                };
                content?: never;
            };
            400: components["responses"]["BadRequest"];
            401: components["responses"]["Unauthorized"];
            503: components["responses"]["ServiceUnavailable"];
            default: components["responses"]["Problem"];
        };
    };
    unregisterPushDevice: {
        parameters: {
            query?: never;
            header?: never;
            path: {
                /** @description Id of the device, as the app sent it at login. */
                deviceId: components["parameters"]["deviceId"];
            };
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description The device is not registered, whether it was before or not. */
            204: {
                headers: {
                    "X-Request-Id": components["headers"]["XRequestId"];
                    [name: string]: unknown;
                };
                content?: never;
            };
            400: components["responses"]["BadRequest"];
            401: components["responses"]["Unauthorized"];
            404: components["responses"]["NotFound"];
            503: components["responses"]["ServiceUnavailable"];
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
                    "X-Request-Id": components["headers"]["XRequestId"];
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["UnreadCount"];
                };
            };
            400: components["responses"]["BadRequest"];
            401: components["responses"]["Unauthorized"];
            503: components["responses"]["ServiceUnavailable"];
            default: components["responses"]["Problem"];
        };
    };
    markNotificationRead: {
        parameters: {
            query?: never;
            header?: never;
            path: {
                /** @description Id of the notification. */
                notificationId: components["parameters"]["notificationId"];
            };
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description The notification. */
            200: {
                headers: {
                    "X-Request-Id": components["headers"]["XRequestId"];
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["Notification"];
                };
            };
            400: components["responses"]["BadRequest"];
            401: components["responses"]["Unauthorized"];
            404: components["responses"]["NotFound"];
            503: components["responses"]["ServiceUnavailable"];
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
                    "X-Request-Id": components["headers"]["XRequestId"];
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["AdminStats"];
                };
            };
            400: components["responses"]["BadRequest"];
            401: components["responses"]["Unauthorized"];
            403: components["responses"]["Forbidden"];
            503: components["responses"]["ServiceUnavailable"];
            default: components["responses"]["Problem"];
        };
    };
    listAdminUsers: {
        parameters: {
            query?: {
                /** @description A prefix of the e-mail address, the username or, from eight characters on, the id; case-insensitive. */
                search?: components["schemas"]["Search"];
                /** @description Whether the account is banned. */
                isBanned?: boolean;
                /** @description Whether pending reports of the account weigh enough for a flag (`REPORT_FLAG_WEIGHT`). */
                isFlagged?: boolean;
                /** @description Role of the account. */
                role?: components["schemas"]["RoleInput"];
                /** @description Whether the e-mail address is verified. */
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
                    "X-Request-Id": components["headers"]["XRequestId"];
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["AdminUserPage"];
                };
            };
            400: components["responses"]["BadRequest"];
            401: components["responses"]["Unauthorized"];
            403: components["responses"]["Forbidden"];
            503: components["responses"]["ServiceUnavailable"];
            default: components["responses"]["Problem"];
        };
    };
    getAdminUser: {
        parameters: {
            query?: never;
            header?: never;
            path: {
                /** @description Id of the user. */
                userId: components["parameters"]["userId"];
            };
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description The account. */
            200: {
                headers: {
                    "X-Request-Id": components["headers"]["XRequestId"];
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["AdminUserDetail"];
                };
            };
            400: components["responses"]["BadRequest"];
            401: components["responses"]["Unauthorized"];
            403: components["responses"]["Forbidden"];
            404: components["responses"]["NotFound"];
            503: components["responses"]["ServiceUnavailable"];
            default: components["responses"]["Problem"];
        };
    };
    listAdminReports: {
        parameters: {
            query?: {
                /** @description `newest`, or `queue`: pending reports by the `rank` of the reported learner. */
                order?: "newest" | "queue";
                /** @description State of the review. */
                status?: components["schemas"]["ReportStatusInput"];
                /** @description Whether the reason is urgent. */
                isUrgent?: boolean;
                /** @description Whether the report is pending although its `dueAt` has passed. */
                isOverdue?: boolean;
                /** @description Id of the reporter. */
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
                    "X-Request-Id": components["headers"]["XRequestId"];
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["AdminReportPage"];
                };
            };
            400: components["responses"]["BadRequest"];
            401: components["responses"]["Unauthorized"];
            403: components["responses"]["Forbidden"];
            503: components["responses"]["ServiceUnavailable"];
            default: components["responses"]["Problem"];
        };
    };
    reviewReport: {
        parameters: {
            query?: never;
            header?: never;
            path: {
                /** @description Id of the report. */
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
                    "X-Request-Id": components["headers"]["XRequestId"];
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["AdminReport"];
                };
            };
            400: components["responses"]["BadRequest"];
            401: components["responses"]["Unauthorized"];
            403: components["responses"]["Forbidden"];
            404: components["responses"]["NotFound"];
            /** @description The state of the resource does not allow this; the code says which state. */
            409: {
                headers: {
                    "X-Request-Id": components["headers"]["XRequestId"];
                    "Retry-After": components["headers"]["RetryAfter"];
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            503: components["responses"]["ServiceUnavailable"];
            default: components["responses"]["Problem"];
        };
    };
    listPictures: {
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
            /** @description A page of pictures. */
            200: {
                headers: {
                    "X-Request-Id": components["headers"]["XRequestId"];
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["AdminPicturePage"];
                };
            };
            400: components["responses"]["BadRequest"];
            401: components["responses"]["Unauthorized"];
            403: components["responses"]["Forbidden"];
            503: components["responses"]["ServiceUnavailable"];
            default: components["responses"]["Problem"];
        };
    };
    decidePicture: {
        parameters: {
            query?: never;
            header?: never;
            path: {
                /** @description Id of the user. */
                userId: components["parameters"]["userId"];
            };
            cookie?: never;
        };
        requestBody: {
            content: {
                "application/json": components["schemas"]["PictureDecision"];
            };
        };
        responses: {
            /** @description Decided. */
            204: {
                headers: {
                    "X-Request-Id": components["headers"]["XRequestId"];
                    [name: string]: unknown;
                };
                content?: never;
            };
            400: components["responses"]["BadRequest"];
            401: components["responses"]["Unauthorized"];
            403: components["responses"]["Forbidden"];
            404: components["responses"]["NotFound"];
            /** @description The state of the resource does not allow this; the code says which state. */
            409: {
                headers: {
                    "X-Request-Id": components["headers"]["XRequestId"];
                    "Retry-After": components["headers"]["RetryAfter"];
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            503: components["responses"]["ServiceUnavailable"];
            default: components["responses"]["Problem"];
        };
    };
    banUser: {
        parameters: {
            query?: never;
            header?: never;
            path: {
                /** @description Id of the user. */
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
                    "X-Request-Id": components["headers"]["XRequestId"];
                    [name: string]: unknown;
                };
                content?: never;
            };
            400: components["responses"]["BadRequest"];
            401: components["responses"]["Unauthorized"];
            403: components["responses"]["Forbidden"];
            404: components["responses"]["NotFound"];
            503: components["responses"]["ServiceUnavailable"];
            default: components["responses"]["Problem"];
        };
    };
    unbanUser: {
        parameters: {
            query?: never;
            header?: never;
            path: {
                /** @description Id of the user. */
                userId: components["parameters"]["userId"];
            };
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description Unbanned. */
            204: {
                headers: {
                    "X-Request-Id": components["headers"]["XRequestId"];
                    [name: string]: unknown;
                };
                content?: never;
            };
            400: components["responses"]["BadRequest"];
            401: components["responses"]["Unauthorized"];
            403: components["responses"]["Forbidden"];
            404: components["responses"]["NotFound"];
            503: components["responses"]["ServiceUnavailable"];
            default: components["responses"]["Problem"];
        };
    };
    listUserSanctions: {
        parameters: {
            query?: {
                /** @description The number of items per page. */
                limit?: components["parameters"]["limit"];
                /** @description The `nextCursor` of the previous page. */
                cursor?: components["parameters"]["cursor"];
            };
            header?: never;
            path: {
                /** @description Id of the user. */
                userId: components["parameters"]["userId"];
            };
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description A page of sanctions. */
            200: {
                headers: {
                    "X-Request-Id": components["headers"]["XRequestId"];
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["AdminSanctionPage"];
                };
            };
            400: components["responses"]["BadRequest"];
            401: components["responses"]["Unauthorized"];
            403: components["responses"]["Forbidden"];
            404: components["responses"]["NotFound"];
            503: components["responses"]["ServiceUnavailable"];
            default: components["responses"]["Problem"];
        };
    };
    createSanction: {
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
                /** @description Id of the user. */
                userId: components["parameters"]["userId"];
            };
            cookie?: never;
        };
        requestBody: {
            content: {
                "application/json": components["schemas"]["SanctionRequest"];
            };
        };
        responses: {
            /** @description The sanction. */
            201: {
                headers: {
                    "X-Request-Id": components["headers"]["XRequestId"];
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["AdminSanction"];
                };
            };
            400: components["responses"]["BadRequest"];
            401: components["responses"]["Unauthorized"];
            403: components["responses"]["Forbidden"];
            404: components["responses"]["NotFound"];
            /** @description The state of the resource does not allow this; the code says which state. */
            409: {
                headers: {
                    "X-Request-Id": components["headers"]["XRequestId"];
                    "Retry-After": components["headers"]["RetryAfter"];
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            422: components["responses"]["UnprocessableContent"];
            503: components["responses"]["ServiceUnavailable"];
            default: components["responses"]["Problem"];
        };
    };
    liftSanction: {
        parameters: {
            query?: never;
            header?: never;
            path: {
                /** @description Id of the sanction. */
                sanctionId: components["parameters"]["sanctionId"];
            };
            cookie?: never;
        };
        requestBody: {
            content: {
                "application/json": components["schemas"]["LiftRequest"];
            };
        };
        responses: {
            /** @description The lifted sanction. */
            200: {
                headers: {
                    "X-Request-Id": components["headers"]["XRequestId"];
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["AdminSanction"];
                };
            };
            400: components["responses"]["BadRequest"];
            401: components["responses"]["Unauthorized"];
            403: components["responses"]["Forbidden"];
            404: components["responses"]["NotFound"];
            /** @description The state of the resource does not allow this; the code says which state. */
            409: {
                headers: {
                    "X-Request-Id": components["headers"]["XRequestId"];
                    "Retry-After": components["headers"]["RetryAfter"];
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            503: components["responses"]["ServiceUnavailable"];
            default: components["responses"]["Problem"];
        };
    };
    listAppeals: {
        parameters: {
            query?: {
                /** @description State of the appeal. */
                status?: components["schemas"]["AppealStatusInput"];
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
            /** @description A page of appeals. */
            200: {
                headers: {
                    "X-Request-Id": components["headers"]["XRequestId"];
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["AdminAppealPage"];
                };
            };
            400: components["responses"]["BadRequest"];
            401: components["responses"]["Unauthorized"];
            403: components["responses"]["Forbidden"];
            503: components["responses"]["ServiceUnavailable"];
            default: components["responses"]["Problem"];
        };
    };
    decideAppeal: {
        parameters: {
            query?: never;
            header?: never;
            path: {
                /** @description Id of the appeal. */
                appealId: components["schemas"]["Id"];
            };
            cookie?: never;
        };
        requestBody: {
            content: {
                "application/json": components["schemas"]["AppealDecision"];
            };
        };
        responses: {
            /** @description The decided appeal. */
            200: {
                headers: {
                    "X-Request-Id": components["headers"]["XRequestId"];
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["AdminAppeal"];
                };
            };
            400: components["responses"]["BadRequest"];
            401: components["responses"]["Unauthorized"];
            403: components["responses"]["Forbidden"];
            404: components["responses"]["NotFound"];
            /** @description The state of the resource does not allow this; the code says which state. */
            409: {
                headers: {
                    "X-Request-Id": components["headers"]["XRequestId"];
                    "Retry-After": components["headers"]["RetryAfter"];
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            503: components["responses"]["ServiceUnavailable"];
            default: components["responses"]["Problem"];
        };
    };
    listAdminOrders: {
        parameters: {
            query?: {
                /** @description State of the order. */
                status?: components["schemas"]["OrderStatusInput"];
                /** @description Provider of the payment. */
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
                    "X-Request-Id": components["headers"]["XRequestId"];
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["AdminOrderPage"];
                };
            };
            400: components["responses"]["BadRequest"];
            401: components["responses"]["Unauthorized"];
            403: components["responses"]["Forbidden"];
            503: components["responses"]["ServiceUnavailable"];
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
                /** @description Id of the order. */
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
                    "X-Request-Id": components["headers"]["XRequestId"];
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["Refund"];
                };
            };
            400: components["responses"]["BadRequest"];
            401: components["responses"]["Unauthorized"];
            403: components["responses"]["Forbidden"];
            404: components["responses"]["NotFound"];
            /** @description The state of the resource does not allow this; the code says which state. */
            409: {
                headers: {
                    "X-Request-Id": components["headers"]["XRequestId"];
                    "Retry-After": components["headers"]["RetryAfter"];
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            422: components["responses"]["UnprocessableContent"];
            502: components["responses"]["BadGateway"];
            503: components["responses"]["ServiceUnavailable"];
            default: components["responses"]["Problem"];
        };
    };
    listAuditEntries: {
        parameters: {
            query?: {
                /** @description Id of the administrator who acted. */
                actorId?: components["schemas"]["Id"];
                /** @description Kind of the action. */
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
                    "X-Request-Id": components["headers"]["XRequestId"];
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["AuditEntryPage"];
                };
            };
            400: components["responses"]["BadRequest"];
            401: components["responses"]["Unauthorized"];
            403: components["responses"]["Forbidden"];
            503: components["responses"]["ServiceUnavailable"];
            default: components["responses"]["Problem"];
        };
    };
    listStaff: {
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
            /** @description A page of accounts. */
            200: {
                headers: {
                    "X-Request-Id": components["headers"]["XRequestId"];
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["StaffPage"];
                };
            };
            400: components["responses"]["BadRequest"];
            401: components["responses"]["Unauthorized"];
            403: components["responses"]["Forbidden"];
            503: components["responses"]["ServiceUnavailable"];
            default: components["responses"]["Problem"];
        };
    };
    listStaffLogins: {
        parameters: {
            query?: never;
            header?: never;
            path: {
                /** @description Id of the user. */
                userId: components["parameters"]["userId"];
            };
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description The logins. */
            200: {
                headers: {
                    "X-Request-Id": components["headers"]["XRequestId"];
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["StaffLoginList"];
                };
            };
            400: components["responses"]["BadRequest"];
            401: components["responses"]["Unauthorized"];
            403: components["responses"]["Forbidden"];
            404: components["responses"]["NotFound"];
            503: components["responses"]["ServiceUnavailable"];
            default: components["responses"]["Problem"];
        };
    };
    endStaffLogin: {
        parameters: {
            query?: never;
            header?: never;
            path: {
                /** @description Id of the user. */
                userId: components["parameters"]["userId"];
                /** @description Id of the login. */
                loginId: components["schemas"]["Id"];
            };
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description The login is revoked: its tokens stop working within a second. */
            204: {
                headers: {
                    "X-Request-Id": components["headers"]["XRequestId"];
                    [name: string]: unknown;
                };
                content?: never;
            };
            400: components["responses"]["BadRequest"];
            401: components["responses"]["Unauthorized"];
            403: components["responses"]["Forbidden"];
            404: components["responses"]["NotFound"];
            503: components["responses"]["ServiceUnavailable"];
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
                    "X-Request-Id": components["headers"]["XRequestId"];
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["CoursePage"];
                };
            };
            400: components["responses"]["BadRequest"];
            401: components["responses"]["Unauthorized"];
            503: components["responses"]["ServiceUnavailable"];
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
                    "X-Request-Id": components["headers"]["XRequestId"];
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["Course"];
                };
            };
            400: components["responses"]["BadRequest"];
            401: components["responses"]["Unauthorized"];
            403: components["responses"]["Forbidden"];
            /** @description The state of the resource does not allow this; the code says which state. */
            409: {
                headers: {
                    "X-Request-Id": components["headers"]["XRequestId"];
                    "Retry-After": components["headers"]["RetryAfter"];
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            503: components["responses"]["ServiceUnavailable"];
            default: components["responses"]["Problem"];
        };
    };
    getCourse: {
        parameters: {
            query?: never;
            header?: never;
            path: {
                /** @description Id of the course. */
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
                    "X-Request-Id": components["headers"]["XRequestId"];
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["Course"];
                };
            };
            400: components["responses"]["BadRequest"];
            401: components["responses"]["Unauthorized"];
            404: components["responses"]["NotFound"];
            503: components["responses"]["ServiceUnavailable"];
            default: components["responses"]["Problem"];
        };
    };
    deleteCourse: {
        parameters: {
            query?: never;
            header?: never;
            path: {
                /** @description Id of the course. */
                courseId: components["parameters"]["courseId"];
            };
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description The course and its lessons are deleted. */
            204: {
                headers: {
                    "X-Request-Id": components["headers"]["XRequestId"];
                    [name: string]: unknown;
                };
                content?: never;
            };
            400: components["responses"]["BadRequest"];
            401: components["responses"]["Unauthorized"];
            403: components["responses"]["Forbidden"];
            404: components["responses"]["NotFound"];
            /** @description The state of the resource does not allow this; the code says which state. */
            409: {
                headers: {
                    "X-Request-Id": components["headers"]["XRequestId"];
                    "Retry-After": components["headers"]["RetryAfter"];
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            503: components["responses"]["ServiceUnavailable"];
            default: components["responses"]["Problem"];
        };
    };
    updateCourse: {
        parameters: {
            query?: never;
            header?: never;
            path: {
                /** @description Id of the course. */
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
                    "X-Request-Id": components["headers"]["XRequestId"];
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["Course"];
                };
            };
            400: components["responses"]["BadRequest"];
            401: components["responses"]["Unauthorized"];
            403: components["responses"]["Forbidden"];
            404: components["responses"]["NotFound"];
            /** @description The state of the resource does not allow this; the code says which state. */
            409: {
                headers: {
                    "X-Request-Id": components["headers"]["XRequestId"];
                    "Retry-After": components["headers"]["RetryAfter"];
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            503: components["responses"]["ServiceUnavailable"];
            default: components["responses"]["Problem"];
        };
    };
    uploadThumbnail: {
        parameters: {
            query?: never;
            header?: never;
            path: {
                /** @description Id of the course. */
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
                    "X-Request-Id": components["headers"]["XRequestId"];
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["Thumbnail"];
                };
            };
            400: components["responses"]["BadRequest"];
            401: components["responses"]["Unauthorized"];
            403: components["responses"]["Forbidden"];
            404: components["responses"]["NotFound"];
            413: components["responses"]["ContentTooLarge"];
            415: components["responses"]["UnsupportedMediaType"];
            503: components["responses"]["ServiceUnavailable"];
            default: components["responses"]["Problem"];
        };
    };
    listLessons: {
        parameters: {
            query?: never;
            header?: never;
            path: {
                /** @description Id of the course. */
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
                    "X-Request-Id": components["headers"]["XRequestId"];
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["LessonList"];
                };
            };
            400: components["responses"]["BadRequest"];
            401: components["responses"]["Unauthorized"];
            404: components["responses"]["NotFound"];
            503: components["responses"]["ServiceUnavailable"];
            default: components["responses"]["Problem"];
        };
    };
    createLesson: {
        parameters: {
            query?: never;
            header?: never;
            path: {
                /** @description Id of the course. */
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
                    "X-Request-Id": components["headers"]["XRequestId"];
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["Lesson"];
                };
            };
            400: components["responses"]["BadRequest"];
            401: components["responses"]["Unauthorized"];
            403: components["responses"]["Forbidden"];
            404: components["responses"]["NotFound"];
            503: components["responses"]["ServiceUnavailable"];
            default: components["responses"]["Problem"];
        };
    };
    reorderLessons: {
        parameters: {
            query?: never;
            header?: never;
            path: {
                /** @description Id of the course. */
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
                    "X-Request-Id": components["headers"]["XRequestId"];
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["LessonList"];
                };
            };
            400: components["responses"]["BadRequest"];
            401: components["responses"]["Unauthorized"];
            403: components["responses"]["Forbidden"];
            404: components["responses"]["NotFound"];
            /** @description The state of the resource does not allow this; the code says which state. */
            409: {
                headers: {
                    "X-Request-Id": components["headers"]["XRequestId"];
                    "Retry-After": components["headers"]["RetryAfter"];
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            503: components["responses"]["ServiceUnavailable"];
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
                /** @description Id of the course. */
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
                    "X-Request-Id": components["headers"]["XRequestId"];
                    "RateLimit-Policy": components["headers"]["RateLimitPolicy"];
                    RateLimit: components["headers"]["RateLimit"];
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["EnrollmentResponse"];
                };
            };
            400: components["responses"]["BadRequest"];
            401: components["responses"]["Unauthorized"];
            404: components["responses"]["NotFound"];
            /** @description The state of the resource does not allow this; the code says which state. */
            409: {
                headers: {
                    "X-Request-Id": components["headers"]["XRequestId"];
                    "Retry-After": components["headers"]["RetryAfter"];
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            422: components["responses"]["UnprocessableContent"];
            429: components["responses"]["TooManyRequests"];
            502: components["responses"]["BadGateway"];
            503: components["responses"]["ServiceUnavailable"];
            default: components["responses"]["Problem"];
        };
    };
    getLesson: {
        parameters: {
            query?: never;
            header?: never;
            path: {
                /** @description Id of the lesson. */
                lessonId: components["parameters"]["lessonId"];
            };
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description The lesson. */
            200: {
                headers: {
                    "X-Request-Id": components["headers"]["XRequestId"];
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["Lesson"];
                };
            };
            400: components["responses"]["BadRequest"];
            401: components["responses"]["Unauthorized"];
            404: components["responses"]["NotFound"];
            503: components["responses"]["ServiceUnavailable"];
            default: components["responses"]["Problem"];
        };
    };
    deleteLesson: {
        parameters: {
            query?: never;
            header?: never;
            path: {
                /** @description Id of the lesson. */
                lessonId: components["parameters"]["lessonId"];
            };
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description The lesson is deleted, with its video, its files and all progress in it. */
            204: {
                headers: {
                    "X-Request-Id": components["headers"]["XRequestId"];
                    [name: string]: unknown;
                };
                content?: never;
            };
            400: components["responses"]["BadRequest"];
            401: components["responses"]["Unauthorized"];
            403: components["responses"]["Forbidden"];
            404: components["responses"]["NotFound"];
            503: components["responses"]["ServiceUnavailable"];
            default: components["responses"]["Problem"];
        };
    };
    updateLesson: {
        parameters: {
            query?: never;
            header?: never;
            path: {
                /** @description Id of the lesson. */
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
                    "X-Request-Id": components["headers"]["XRequestId"];
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["Lesson"];
                };
            };
            400: components["responses"]["BadRequest"];
            401: components["responses"]["Unauthorized"];
            403: components["responses"]["Forbidden"];
            404: components["responses"]["NotFound"];
            503: components["responses"]["ServiceUnavailable"];
            default: components["responses"]["Problem"];
        };
    };
    setLessonProgress: {
        parameters: {
            query?: never;
            header?: never;
            path: {
                /** @description Id of the lesson. */
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
                    "X-Request-Id": components["headers"]["XRequestId"];
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["LessonProgress"];
                };
            };
            400: components["responses"]["BadRequest"];
            401: components["responses"]["Unauthorized"];
            /** @description The account is not allowed to do this. */
            403: {
                headers: {
                    "X-Request-Id": components["headers"]["XRequestId"];
                    "Retry-After": components["headers"]["RetryAfter"];
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            404: components["responses"]["NotFound"];
            503: components["responses"]["ServiceUnavailable"];
            default: components["responses"]["Problem"];
        };
    };
    completeLesson: {
        parameters: {
            query?: never;
            header?: never;
            path: {
                /** @description Id of the lesson. */
                lessonId: components["parameters"]["lessonId"];
            };
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description The lesson is completed; the time of the first completion is kept. */
            200: {
                headers: {
                    "X-Request-Id": components["headers"]["XRequestId"];
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["LessonProgress"];
                };
            };
            400: components["responses"]["BadRequest"];
            401: components["responses"]["Unauthorized"];
            /** @description The account is not allowed to do this. */
            403: {
                headers: {
                    "X-Request-Id": components["headers"]["XRequestId"];
                    "Retry-After": components["headers"]["RetryAfter"];
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            404: components["responses"]["NotFound"];
            503: components["responses"]["ServiceUnavailable"];
            default: components["responses"]["Problem"];
        };
    };
    listAttachments: {
        parameters: {
            query?: never;
            header?: never;
            path: {
                /** @description Id of the lesson. */
                lessonId: components["parameters"]["lessonId"];
            };
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description The files, with addresses that are valid for minutes. */
            200: {
                headers: {
                    "X-Request-Id": components["headers"]["XRequestId"];
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["AttachmentList"];
                };
            };
            400: components["responses"]["BadRequest"];
            401: components["responses"]["Unauthorized"];
            /** @description The account is not allowed to do this. */
            403: {
                headers: {
                    "X-Request-Id": components["headers"]["XRequestId"];
                    "Retry-After": components["headers"]["RetryAfter"];
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            404: components["responses"]["NotFound"];
            503: components["responses"]["ServiceUnavailable"];
            default: components["responses"]["Problem"];
        };
    };
    uploadAttachment: {
        parameters: {
            query?: never;
            header?: never;
            path: {
                /** @description Id of the lesson. */
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
                    "X-Request-Id": components["headers"]["XRequestId"];
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["Attachment"];
                };
            };
            400: components["responses"]["BadRequest"];
            401: components["responses"]["Unauthorized"];
            403: components["responses"]["Forbidden"];
            404: components["responses"]["NotFound"];
            413: components["responses"]["ContentTooLarge"];
            503: components["responses"]["ServiceUnavailable"];
            default: components["responses"]["Problem"];
        };
    };
    deleteAttachment: {
        parameters: {
            query?: never;
            header?: never;
            path: {
                /** @description Id of the lesson. */
                lessonId: components["parameters"]["lessonId"];
                /** @description Id of the file. */
                attachmentId: components["parameters"]["attachmentId"];
            };
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description The file is deleted. */
            204: {
                headers: {
                    "X-Request-Id": components["headers"]["XRequestId"];
                    [name: string]: unknown;
                };
                content?: never;
            };
            400: components["responses"]["BadRequest"];
            401: components["responses"]["Unauthorized"];
            403: components["responses"]["Forbidden"];
            404: components["responses"]["NotFound"];
            503: components["responses"]["ServiceUnavailable"];
            default: components["responses"]["Problem"];
        };
    };
    uploadVideo: {
        parameters: {
            query?: never;
            header?: never;
            path: {
                /** @description Id of the lesson. */
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
                    "X-Request-Id": components["headers"]["XRequestId"];
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["Lesson"];
                };
            };
            400: components["responses"]["BadRequest"];
            401: components["responses"]["Unauthorized"];
            403: components["responses"]["Forbidden"];
            404: components["responses"]["NotFound"];
            413: components["responses"]["ContentTooLarge"];
            415: components["responses"]["UnsupportedMediaType"];
            503: components["responses"]["ServiceUnavailable"];
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
                /** @description Id of the lesson. */
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
                    "X-Request-Id": components["headers"]["XRequestId"];
                    [name: string]: unknown;
                };
                content?: never;
            };
            400: components["responses"]["BadRequest"];
            401: components["responses"]["Unauthorized"];
            403: components["responses"]["Forbidden"];
            404: components["responses"]["NotFound"];
            412: components["responses"]["PreconditionFailed"];
            413: components["responses"]["ContentTooLarge"];
            503: components["responses"]["ServiceUnavailable"];
            default: components["responses"]["Problem"];
        };
    };
    describeUploads: {
        parameters: {
            query?: never;
            header?: never;
            path: {
                /** @description Id of the lesson. */
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
                    "X-Request-Id": components["headers"]["XRequestId"];
                    [name: string]: unknown;
                };
                content?: never;
            };
            400: components["responses"]["BadRequest"];
            404: components["responses"]["NotFound"];
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
                /** @description Id of the lesson. */
                lessonId: components["parameters"]["lessonId"];
                /** @description Id of the upload. */
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
                    "X-Request-Id": components["headers"]["XRequestId"];
                    [name: string]: unknown;
                };
                content?: never;
            };
            400: components["responses"]["BadRequest"];
            401: components["responses"]["Unauthorized"];
            403: components["responses"]["Forbidden"];
            404: components["responses"]["NotFound"];
            412: components["responses"]["PreconditionFailed"];
            503: components["responses"]["ServiceUnavailable"];
            default: components["responses"]["Problem"];
        };
    };
    describeUpload: {
        parameters: {
            query?: never;
            header?: never;
            path: {
                /** @description Id of the lesson. */
                lessonId: components["parameters"]["lessonId"];
                /** @description Id of the upload. */
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
                    "X-Request-Id": components["headers"]["XRequestId"];
                    [name: string]: unknown;
                };
                content?: never;
            };
            400: components["responses"]["BadRequest"];
            404: components["responses"]["NotFound"];
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
                /** @description Id of the lesson. */
                lessonId: components["parameters"]["lessonId"];
                /** @description Id of the upload. */
                uploadId: components["parameters"]["uploadId"];
            };
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description The offset to resume at, also of a complete upload. */
            200: {
                headers: {
                    "Cache-Control": components["headers"]["CachePolicy"];
                    "Upload-Length": components["headers"]["UploadLength"];
                    "Upload-Offset": components["headers"]["UploadOffset"];
                    "Upload-Metadata": components["headers"]["UploadMetadata"];
                    "Upload-Expires": components["headers"]["UploadExpires"];
                    "Tus-Resumable": components["headers"]["TusResumable"];
                    "X-Request-Id": components["headers"]["XRequestId"];
                    [name: string]: unknown;
                };
                content?: never;
            };
            400: components["responses"]["BadRequest"];
            401: components["responses"]["Unauthorized"];
            403: components["responses"]["Forbidden"];
            404: components["responses"]["NotFound"];
            412: components["responses"]["PreconditionFailed"];
            503: components["responses"]["ServiceUnavailable"];
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
                /** @description Id of the lesson. */
                lessonId: components["parameters"]["lessonId"];
                /** @description Id of the upload. */
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
                    "X-Request-Id": components["headers"]["XRequestId"];
                    [name: string]: unknown;
                };
                content?: never;
            };
            400: components["responses"]["BadRequest"];
            401: components["responses"]["Unauthorized"];
            403: components["responses"]["Forbidden"];
            404: components["responses"]["NotFound"];
            /** @description The state of the resource does not allow this; the code says which state. */
            409: {
                headers: {
                    "X-Request-Id": components["headers"]["XRequestId"];
                    "Retry-After": components["headers"]["RetryAfter"];
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            412: components["responses"]["PreconditionFailed"];
            413: components["responses"]["ContentTooLarge"];
            415: components["responses"]["UnsupportedMediaType"];
            503: components["responses"]["ServiceUnavailable"];
            default: components["responses"]["Problem"];
        };
    };
    getVideoUrl: {
        parameters: {
            query?: never;
            header?: never;
            path: {
                /** @description Id of the lesson. */
                lessonId: components["parameters"]["lessonId"];
            };
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description An HLS master playlist; request another when it has expired. */
            200: {
                headers: {
                    "X-Request-Id": components["headers"]["XRequestId"];
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["VideoLink"];
                };
            };
            400: components["responses"]["BadRequest"];
            401: components["responses"]["Unauthorized"];
            /** @description The account is not allowed to do this. */
            403: {
                headers: {
                    "X-Request-Id": components["headers"]["XRequestId"];
                    "Retry-After": components["headers"]["RetryAfter"];
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            404: components["responses"]["NotFound"];
            /** @description The state of the resource does not allow this; the code says which state. */
            409: {
                headers: {
                    "X-Request-Id": components["headers"]["XRequestId"];
                    "Retry-After": components["headers"]["RetryAfter"];
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            503: components["responses"]["ServiceUnavailable"];
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
                /** @description Id of the lesson. */
                lessonId: components["parameters"]["lessonId"];
                /** @description The master playlist, or the one of a quality or of the sound; the master playlist links to these. */
                name: components["parameters"]["playlistName"];
            };
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description The playlist (RFC 8216). */
            200: {
                headers: {
                    "Cache-Control": components["headers"]["CachePolicy"];
                    "X-Request-Id": components["headers"]["XRequestId"];
                    [name: string]: unknown;
                };
                content: {
                    "application/vnd.apple.mpegurl": components["schemas"]["Playlist"];
                };
            };
            400: components["responses"]["BadRequest"];
            401: components["responses"]["Unauthorized"];
            /** @description The account is not allowed to do this. */
            403: {
                headers: {
                    "X-Request-Id": components["headers"]["XRequestId"];
                    "Retry-After": components["headers"]["RetryAfter"];
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            404: components["responses"]["NotFound"];
            /** @description The state of the resource does not allow this; the code says which state. */
            409: {
                headers: {
                    "X-Request-Id": components["headers"]["XRequestId"];
                    "Retry-After": components["headers"]["RetryAfter"];
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            503: components["responses"]["ServiceUnavailable"];
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
                    "X-Request-Id": components["headers"]["XRequestId"];
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["CourseEnrollmentPage"];
                };
            };
            400: components["responses"]["BadRequest"];
            401: components["responses"]["Unauthorized"];
            503: components["responses"]["ServiceUnavailable"];
            default: components["responses"]["Problem"];
        };
    };
    getMyProgress: {
        parameters: {
            query?: never;
            header?: never;
            path: {
                /** @description Id of the course. */
                courseId: components["parameters"]["courseId"];
            };
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description Each lesson in order, started or not. */
            200: {
                headers: {
                    "X-Request-Id": components["headers"]["XRequestId"];
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["CourseProgress"];
                };
            };
            400: components["responses"]["BadRequest"];
            401: components["responses"]["Unauthorized"];
            404: components["responses"]["NotFound"];
            503: components["responses"]["ServiceUnavailable"];
            default: components["responses"]["Problem"];
        };
    };
}
