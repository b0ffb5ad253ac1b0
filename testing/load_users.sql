-- Many users in an empty database; testing/load_users.py puts numbers for :users, :sessions, :orders, :reports and :entries.
-- Ids follow from numbers, so that rows refer to each other without a look.

CREATE FUNCTION pg_temp.person(n bigint) RETURNS uuid LANGUAGE sql IMMUTABLE RETURN CAST(md5('user' || n) AS uuid);

-- Addresses and usernames begin with any letter; one in fifty is not verified, one in two hundred banned.
INSERT INTO users (id, email, email_canonical, password_hash, role, is_verified, is_banned, ban_reason, banned_at, flagged_at, deleted_at,
                   created_at)
SELECT pg_temp.person(n), address, address, '', CASE WHEN n <= 12 THEN 'admin' ELSE 'student' END::user_role, n % 50 > 0,
       n % 200 = 13, CASE WHEN n % 200 = 13 THEN 'Spam.' END, CASE WHEN n % 200 = 13 THEN now() END,
       CASE WHEN n % 1000 = 14 THEN now() END, CASE WHEN n % 100 = 15 THEN now() END,
       now() - (:users - n) * interval '700 days' / :users
FROM generate_series(1, :users) AS n,
     LATERAL (SELECT substr('abcdefghijklmnoprstuvwz', 1 + n % 23, 1) || substr(md5('mail' || n), 1, 5) || '.' || n
                     || '@example.com' AS address) AS addresses;

-- One in twenty was here today.
INSERT INTO profiles (user_id, username, display_name, last_active_at, created_at)
SELECT pg_temp.person(n), substr('zyxwvutsrponmlkjihgfeda', 1 + n % 23, 1) || substr(md5('name' || n), 1, 5) || '_' || n,
       'Learner ' || n, now() - random() * CASE WHEN n % 20 = 0 THEN interval '1 hour' ELSE interval '300 days' END,
       now() - (:users - n) * interval '700 days' / :users
FROM generate_series(1, :users) AS n;

-- A year of calls, the last two hundred still going on, one match in twelve never joined.
INSERT INTO call_sessions (id, room_id, user_a_id, user_b_id, level, started_at, connected_at, ended_at,
                           duration_seconds, ended_by, waited_ms)
SELECT gen_random_uuid(), gen_random_uuid(), pg_temp.person(a), pg_temp.person(b), 'all', at,
       CASE WHEN n % 12 > 0 THEN at END, CASE WHEN is_over THEN at + interval '10 minutes' END,
       CASE WHEN is_over THEN (n % 12 > 0)::int * (30 + n % 1500) END, CASE WHEN is_over THEN 'user_a'::ended_by END,
       (random() ^ 3 * 60000)::int
FROM (
    SELECT n, n <= :sessions - 200 AS is_over, now() - (:sessions - n) * interval '365 days' / :sessions AS at,
           1 + n * 7919 % :users AS a, 1 + (n * 104729 + 1) % :users AS b
    FROM generate_series(1, CAST(:sessions AS bigint)) AS n
) AS calls
WHERE a <> b;

INSERT INTO courses (id, title, slug, description, price, currency, level, is_published)
SELECT md5('course' || n)::uuid, 'Course', 'course-' || n, '', 49900, 'inr', 'beginner', true
FROM generate_series(1, 40) AS n;

INSERT INTO orders (id, receipt_id, user_id, course_id, course_title, amount, amount_refunded, currency, status, disputed,
                    provider, live, checkout_expires_at, provider_payment_id, paid_at, created_at)
SELECT gen_random_uuid(), 'PL-' || n, pg_temp.person(1 + n % :users), md5('course' || 1 + n % 40)::uuid, 'Course', 49900,
       CASE WHEN status = 'refunded' THEN 49900 ELSE 0 END, 'inr', status::order_status,
       status = 'paid' AND n % 300 = 1, CASE WHEN n % 50 = 7 THEN 'razorpay' ELSE 'stripe' END::payment_provider, true, at,
       CASE WHEN status IN ('paid', 'refunded') THEN 'pi_' || n END, CASE WHEN status IN ('paid', 'refunded') THEN at END, at
FROM (
    SELECT n, now() - (:orders - n) * interval '365 days' / :orders AS at,
           CASE WHEN n % 1000 = 5 THEN 'pending' ELSE (ARRAY['paid', 'paid', 'expired', 'paid', 'failed', 'expired', 'paid',
               'paid', 'expired', 'refunded'])[1 + n % 10] END AS status
    FROM generate_series(1, :orders) AS n
) AS sold;

INSERT INTO refunds (id, order_id, provider, provider_payment_id, provider_refund_id, amount, currency, status, issued_here,
                     created_at)
SELECT gen_random_uuid(), id, provider, provider_payment_id, 're_' || id, amount, currency, 'succeeded', true, paid_at
FROM orders WHERE status = 'refunded';

INSERT INTO reports (id, reporter_id, reported_id, reason, status, created_at)
SELECT gen_random_uuid(), pg_temp.person(1 + n % :users), pg_temp.person(1 + n * 31 % (:users / 100)), 'spam',
       CASE WHEN n % 50 = 0 THEN 'pending' ELSE 'reviewed' END::report_status,
       now() - (:reports - n) * interval '365 days' / :reports
FROM generate_series(1, :reports) AS n WHERE n % :users <> n * 31 % (:users / 100);

INSERT INTO audit_log (number, at, actor_id, action, subject_id, hash, previous_hash)
SELECT n, now() - (:entries - n) * interval '365 days' / :entries, pg_temp.person(1 + n % 12),
       (ARRAY['report.review', 'report.review', 'report.review', 'user.ban', 'order.refund'])[1 + n % 5],
       pg_temp.person(1 + n * 31 % :users),
       encode(sha256(n::text::bytea), 'hex'), encode(sha256((n - 1)::text::bytea), 'hex')
FROM generate_series(1, :entries) AS n;
