BEGIN TRANSACTION;
CREATE TABLE acks (
	"key" VARCHAR NOT NULL, 
	at FLOAT NOT NULL, 
	"by" VARCHAR NOT NULL, 
	comment VARCHAR NOT NULL, 
	PRIMARY KEY ("key")
);
CREATE TABLE alembic_version (
    version_num VARCHAR(32) NOT NULL, CONSTRAINT alembic_version_pkc PRIMARY KEY (version_num)
);
INSERT INTO "alembic_version" VALUES('0008');
CREATE TABLE alerts (
	"key" VARCHAR NOT NULL, 
	status VARCHAR NOT NULL, 
	content JSON NOT NULL, 
	starts_at FLOAT, 
	first_seen FLOAT NOT NULL, 
	updated_at FLOAT NOT NULL, 
	said_every FLOAT, 
	over_at FLOAT, 
	PRIMARY KEY ("key")
);
INSERT INTO "alerts" VALUES('4197da7567cc0b2c8d73b99e021f4f61','firing','{"source": "grafana", "group_key": " 1:5", "title": "\u78c1\u76d8\u5feb\u6ee1\u4e86", "dedupe_seconds": 55.0, "alerts": [{"source": "grafana", "status": "firing", "title": "\u78c1\u76d8\u5feb\u6ee1\u4e86", "labels": {"severity": "critical", "alertname": "\u78c1\u76d8\u5feb\u6ee1\u4e86"}, "annotations": {"__orgId__": "1", "__ruleId__": "5"}, "fingerprint": "1:5"}], "truncated": 0}',NULL,1796000000.0,1796000000.0,NULL,1796086400.0);
CREATE TABLE asked (
	channel VARCHAR NOT NULL, 
	id VARCHAR NOT NULL, 
	at FLOAT NOT NULL, 
	content JSON NOT NULL, 
	done_at FLOAT, 
	PRIMARY KEY (channel, id)
);
CREATE TABLE audit (
	id INTEGER NOT NULL, 
	at FLOAT NOT NULL, 
	"by" VARCHAR NOT NULL, 
	action VARCHAR NOT NULL, 
	what VARCHAR NOT NULL, 
	via VARCHAR NOT NULL, 
	PRIMARY KEY (id)
);
INSERT INTO "audit" VALUES(1,1796000000.0,'张三','silenced','alertname="DiskFull"','chat');
CREATE TABLE contacts (
	channel VARCHAR NOT NULL, 
	id VARCHAR NOT NULL, 
	name VARCHAR NOT NULL, 
	alias VARCHAR NOT NULL, 
	handle VARCHAR NOT NULL, 
	account VARCHAR NOT NULL, 
	seen_at FLOAT NOT NULL, 
	present BOOLEAN NOT NULL, 
	since INTEGER DEFAULT '0' NOT NULL, 
	PRIMARY KEY (channel, id)
);
CREATE TABLE episodes (
	id INTEGER NOT NULL, 
	"key" VARCHAR NOT NULL, 
	source VARCHAR NOT NULL, 
	name VARCHAR NOT NULL, 
	severity VARCHAR NOT NULL, 
	labels JSON NOT NULL, 
	started_at FLOAT NOT NULL, 
	ended_at FLOAT, 
	PRIMARY KEY (id)
);
INSERT INTO "episodes" VALUES(1,'4197da7567cc0b2c8d73b99e021f4f61','grafana','磁盘快满了','critical','{"alertname": "\u78c1\u76d8\u5feb\u6ee1\u4e86", "severity": "critical", "source": "grafana"}',1796000000.0,NULL);
CREATE TABLE facts (
	"key" VARCHAR NOT NULL, 
	value JSON NOT NULL, 
	at FLOAT NOT NULL, 
	PRIMARY KEY ("key")
);
CREATE TABLE host_samples (
	host VARCHAR NOT NULL, 
	at FLOAT NOT NULL, 
	figures JSON NOT NULL, 
	PRIMARY KEY (host, at)
);
CREATE TABLE identities (
	channel VARCHAR NOT NULL, 
	chat VARCHAR NOT NULL, 
	id VARCHAR NOT NULL, 
	names JSON NOT NULL, 
	members JSON NOT NULL, 
	account VARCHAR NOT NULL, 
	seen INTEGER NOT NULL, 
	guess BOOLEAN NOT NULL, 
	told VARCHAR NOT NULL, 
	PRIMARY KEY (channel, chat)
);
CREATE TABLE job_history (
	id INTEGER NOT NULL, 
	job VARCHAR NOT NULL, 
	started_at FLOAT NOT NULL, 
	seconds FLOAT NOT NULL, 
	ok BOOLEAN NOT NULL, 
	error TEXT, 
	picture_file VARCHAR, 
	PRIMARY KEY (id)
);
CREATE TABLE job_mutes (
	job VARCHAR NOT NULL, 
	until FLOAT NOT NULL, 
	"by" VARCHAR NOT NULL, 
	at FLOAT NOT NULL, 
	PRIMARY KEY (job)
);
CREATE TABLE job_runs (
	job VARCHAR NOT NULL, 
	started_at FLOAT NOT NULL, 
	seconds FLOAT, 
	ok BOOLEAN, 
	error TEXT, 
	told BOOLEAN DEFAULT 0 NOT NULL, 
	PRIMARY KEY (job)
);
CREATE TABLE messages (
	id INTEGER NOT NULL, 
	notification_id INTEGER NOT NULL, 
	target VARCHAR NOT NULL, 
	priority INTEGER NOT NULL, 
	state VARCHAR NOT NULL, 
	kind VARCHAR NOT NULL, 
	text TEXT, 
	format VARCHAR, 
	mentions JSON, 
	picture_file VARCHAR, 
	picture_name VARCHAR, 
	picture_spec JSON, 
	follows INTEGER, 
	recipient VARCHAR, 
	created_at FLOAT NOT NULL, 
	expires_at FLOAT NOT NULL, 
	next_try_at FLOAT NOT NULL, 
	tries INTEGER DEFAULT '0' NOT NULL, 
	maybe_sent BOOLEAN DEFAULT 0 NOT NULL, 
	settled_at FLOAT, 
	receipt VARCHAR, 
	error_code VARCHAR, 
	error TEXT, 
	drawn_at FLOAT, 
	first_tried_at FLOAT, 
	tried_at FLOAT, 
	PRIMARY KEY (id), 
	FOREIGN KEY(notification_id) REFERENCES notifications (id) ON DELETE CASCADE
);
INSERT INTO "messages" VALUES(1,1,'ops',30,'sent','text','sent long ago','text',NULL,NULL,NULL,NULL,NULL,NULL,1.79602006220389175412e+09,1.79610646220389175414e+09,1.79602006220389175412e+09,0,0,1796000000.0,'r-1',NULL,NULL,NULL,NULL,NULL);
INSERT INTO "messages" VALUES(2,2,'ops',30,'queued','text','waits still: 等待','text',NULL,NULL,NULL,NULL,NULL,NULL,1.79602006220389175412e+09,1.79610646220389175414e+09,1.79602006220389175412e+09,0,0,NULL,NULL,NULL,NULL,NULL,NULL,NULL);
CREATE TABLE notifications (
	id INTEGER NOT NULL, 
	created_at FLOAT NOT NULL, 
	source VARCHAR NOT NULL, 
	target VARCHAR NOT NULL, 
	kind VARCHAR NOT NULL, 
	origin INTEGER, 
	dedupe_key VARCHAR, 
	dedupe_group VARCHAR, 
	content JSON, 
	received_id INTEGER, 
	PRIMARY KEY (id)
);
INSERT INTO "notifications" VALUES(1,1.79602006220389175412e+09,'t','ops','other',NULL,NULL,NULL,NULL,NULL);
INSERT INTO "notifications" VALUES(2,1.79602006220389175412e+09,'t','ops','other',NULL,NULL,NULL,NULL,NULL);
CREATE TABLE picture_parts (
	file VARCHAR NOT NULL, 
	part INTEGER NOT NULL, 
	at FLOAT NOT NULL, 
	content BLOB NOT NULL, 
	PRIMARY KEY (file, part)
);
CREATE TABLE received (
	id INTEGER NOT NULL, 
	at FLOAT NOT NULL, 
	source VARCHAR NOT NULL, 
	title VARCHAR NOT NULL, 
	alerts INTEGER NOT NULL, 
	routed JSON NOT NULL, 
	told INTEGER DEFAULT '0' NOT NULL, 
	PRIMARY KEY (id)
);
CREATE TABLE rooms (
	channel VARCHAR NOT NULL, 
	id VARCHAR NOT NULL, 
	topic VARCHAR NOT NULL, 
	member_ids JSON NOT NULL, 
	account VARCHAR NOT NULL, 
	seen_at FLOAT NOT NULL, 
	present BOOLEAN NOT NULL, 
	since INTEGER DEFAULT '0' NOT NULL, 
	PRIMARY KEY (channel, id)
);
CREATE TABLE sends (
	id INTEGER NOT NULL, 
	channel VARCHAR NOT NULL, 
	chat VARCHAR NOT NULL, 
	at FLOAT NOT NULL, 
	PRIMARY KEY (id)
);
CREATE TABLE sightings (
	alert BIGINT NOT NULL, 
	received_id INTEGER NOT NULL, 
	PRIMARY KEY (alert, received_id)
)
 WITHOUT ROWID

;
CREATE TABLE silences (
	id VARCHAR NOT NULL, 
	matchers JSON NOT NULL, 
	starts_at FLOAT NOT NULL, 
	ends_at FLOAT NOT NULL, 
	created_at FLOAT NOT NULL, 
	created_by VARCHAR NOT NULL, 
	comment VARCHAR NOT NULL, 
	ends_with VARCHAR, 
	PRIMARY KEY (id)
);
INSERT INTO "silences" VALUES('5c9684fe','["alertname=\"DiskFull\""]',1796000000.0,4000000000.0,1796000000.0,'张三','upgrade',NULL);
CREATE TABLE told (
	"key" VARCHAR NOT NULL, 
	target VARCHAR NOT NULL, 
	status VARCHAR NOT NULL, 
	starts_at FLOAT, 
	told_at FLOAT, 
	due_at FLOAT, 
	held VARCHAR, 
	statement VARCHAR, 
	PRIMARY KEY ("key", target)
);
CREATE INDEX notifications_dedupe_group ON notifications (dedupe_group, id) WHERE dedupe_group IS NOT NULL;
CREATE INDEX notifications_created ON notifications (created_at);
CREATE INDEX notifications_received ON notifications (received_id) WHERE received_id IS NOT NULL;
CREATE INDEX notifications_dedupe ON notifications (dedupe_key, created_at) WHERE dedupe_key IS NOT NULL AND dedupe_group IS NULL;
CREATE INDEX sends_channel ON sends (channel, at);
CREATE INDEX alerts_ended ON alerts (updated_at) WHERE status = 'resolved';
CREATE INDEX alerts_firing ON alerts (updated_at) WHERE status <> 'resolved';
CREATE INDEX alerts_over ON alerts (over_at) WHERE over_at IS NOT NULL;
CREATE INDEX told_due ON told (due_at) WHERE due_at IS NOT NULL;
CREATE INDEX silences_ends ON silences (ends_at);
CREATE INDEX job_history_job ON job_history (job, started_at);
CREATE INDEX job_history_started ON job_history (started_at);
CREATE INDEX episodes_ended ON episodes (ended_at) WHERE ended_at IS NOT NULL;
CREATE INDEX episodes_started ON episodes (started_at);
CREATE INDEX episodes_key ON episodes ("key", ended_at, started_at);
CREATE INDEX received_at ON received (at);
CREATE INDEX received_untold ON received (id) WHERE told = 0;
CREATE INDEX sightings_received ON sightings (received_id);
CREATE INDEX asked_open ON asked (at) WHERE done_at IS NULL;
CREATE INDEX host_samples_at ON host_samples (at);
CREATE INDEX picture_parts_at ON picture_parts (at);
CREATE INDEX messages_drawn ON messages (target, priority, id) WHERE state IN ('queued', 'sending') AND kind = 'picture' AND picture_file IS NOT NULL;
CREATE INDEX messages_pictures ON messages (picture_file) WHERE picture_file IS NOT NULL;
CREATE INDEX messages_notification ON messages (notification_id);
CREATE INDEX messages_texts ON messages (target, priority, id) WHERE state IN ('queued', 'sending') AND kind = 'text';
CREATE INDEX messages_expiring ON messages (expires_at) WHERE state IN ('queued', 'sending');
CREATE INDEX messages_to_draw ON messages (priority, id) WHERE state IN ('queued', 'sending') AND kind = 'picture' AND picture_file IS NULL;
CREATE INDEX messages_put_back ON messages (target, next_try_at) WHERE state IN ('queued', 'sending') AND next_try_at > created_at;
CREATE INDEX messages_target ON messages (target, notification_id);
CREATE INDEX messages_waiting ON messages (target, created_at) WHERE state IN ('queued', 'sending');
CREATE INDEX messages_settled ON messages (state, settled_at, target) WHERE settled_at IS NOT NULL;
CREATE INDEX audit_at ON audit (at);
CREATE INDEX audit_by ON audit ("by", id);
CREATE INDEX audit_action ON audit (action, id);
CREATE INDEX audit_by_action ON audit ("by", action, id);
COMMIT;
