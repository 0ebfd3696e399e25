-- A host's state as version 0.1.0 left it: made by create_all, without a revision.
BEGIN TRANSACTION;
CREATE TABLE births (
	"group" TEXT NOT NULL, 
	node TEXT NOT NULL, 
	device TEXT NOT NULL, 
	content TEXT NOT NULL, 
	at_ms BIGINT NOT NULL, 
	PRIMARY KEY ("group", node, device)
);
INSERT INTO "births" VALUES('plant','gw-1','pump-1','[["flow", 9, {"engUnit": "m3/h"}]]',1700000000000);
CREATE TABLE collisions (
	"group" TEXT NOT NULL, 
	node TEXT NOT NULL, 
	epoch TEXT NOT NULL, 
	number BIGINT NOT NULL, 
	content TEXT NOT NULL, 
	PRIMARY KEY ("group", node, epoch, number)
);
INSERT INTO "collisions" VALUES('plant','gw-1','e1',1,'[["flow", 1700000000000]]');
CREATE TABLE counters (
	"group" TEXT NOT NULL, 
	node TEXT NOT NULL, 
	epoch TEXT NOT NULL, 
	content TEXT NOT NULL, 
	closed INTEGER NOT NULL, 
	at_ms BIGINT NOT NULL, 
	PRIMARY KEY ("group", node, epoch)
);
INSERT INTO "counters" VALUES('plant','gw-1','e1','{"epoch": "e1", "number": 3, "devices": {}}',0,1);
CREATE TABLE dead_letters (
	"group" TEXT NOT NULL, 
	node TEXT NOT NULL, 
	epoch TEXT NOT NULL, 
	number BIGINT NOT NULL, 
	position BIGINT NOT NULL, 
	digest TEXT NOT NULL, 
	kind TEXT NOT NULL, 
	device TEXT NOT NULL, 
	tag TEXT NOT NULL, 
	ts_ms BIGINT, 
	samples INTEGER NOT NULL, 
	why TEXT NOT NULL, 
	content BLOB NOT NULL, 
	at_ms BIGINT NOT NULL, 
	PRIMARY KEY ("group", node, epoch, number, position, digest)
);
INSERT INTO "dead_letters" VALUES('plant','gw-1','e1',3,0,'','sample','pump-1','t0',1700000000000,1,'not a number',X'4E614E',1700000000002);
INSERT INTO "dead_letters" VALUES('plant','gw-1','e1',3,1,'','sample','pump-1','t1',1700000000000,1,'not a number',X'4E614E',1700000000002);
INSERT INTO "dead_letters" VALUES('plant','gw-1','e1',1,-1,'ffffffffffffffffffffffffffffffff','conflict','pump-1','',NULL,5,'the batch is stored with another digest',X'00FF',1700000000003);
INSERT INTO "dead_letters" VALUES('plant','gw-1','',1700000000004,1,'','message','','',NULL,0,'not a Sparkplug payload',X'FF00616263',1700000000004);
CREATE TABLE figures (
	"group" TEXT NOT NULL, 
	node TEXT NOT NULL, 
	name TEXT NOT NULL, 
	value BIGINT NOT NULL, 
	PRIMARY KEY ("group", node, name)
);
INSERT INTO "figures" VALUES('plant','gw-1','duplicates',4);
CREATE TABLE ledger (
	"group" TEXT NOT NULL, 
	node TEXT NOT NULL, 
	epoch TEXT NOT NULL, 
	number BIGINT NOT NULL, 
	device TEXT NOT NULL, 
	digest TEXT NOT NULL, 
	samples INTEGER NOT NULL, 
	dead INTEGER NOT NULL, 
	collided INTEGER NOT NULL, 
	first_ms BIGINT NOT NULL, 
	last_ms BIGINT NOT NULL, 
	PRIMARY KEY ("group", node, epoch, number)
);
INSERT INTO "ledger" VALUES('plant','gw-1','e1',1,'pump-1','00000000000000000000000000000001',5,0,0,1700000000000,1700000000004);
INSERT INTO "ledger" VALUES('plant','gw-1','e1',2,'pump-1','00000000000000000000000000000002',5,0,0,1700000000000,1700000000004);
INSERT INTO "ledger" VALUES('plant','gw-1','e1',3,'pump-1','00000000000000000000000000000003',5,0,0,1700000000000,1700000000004);
CREATE TABLE nodes (
	"group" TEXT NOT NULL, 
	node TEXT NOT NULL, 
	content TEXT NOT NULL, 
	at_ms BIGINT NOT NULL, 
	PRIMARY KEY ("group", node)
);
INSERT INTO "nodes" VALUES('plant','gw-1','{"heard_ms": 1700000000000, "alive": true}',1700000000000);
CREATE TABLE records (
	"group" TEXT NOT NULL, 
	node TEXT NOT NULL, 
	epoch TEXT NOT NULL, 
	number BIGINT NOT NULL, 
	position INTEGER NOT NULL, 
	kind TEXT NOT NULL, 
	content TEXT NOT NULL, 
	at_ms BIGINT NOT NULL, 
	PRIMARY KEY ("group", node, epoch, number, position)
);
INSERT INTO "records" VALUES('plant','gw-1','e1',2,0,'gap','{"kind": "gap"}',1700000000001);
CREATE INDEX ledger_device ON ledger ("group", node, device, epoch);
COMMIT;
