CREATE TABLE "experiments" (
	experiment_id INTEGER NOT NULL, 
	name VARCHAR(256) NOT NULL, 
	artifact_location VARCHAR(256), 
	lifecycle_stage VARCHAR(32), 
	creation_time BIGINT, 
	last_update_time BIGINT, 
	workspace VARCHAR(63) DEFAULT 'default' NOT NULL, 
	CONSTRAINT experiment_pk PRIMARY KEY (experiment_id), 
	CONSTRAINT experiments_lifecycle_stage CHECK (lifecycle_stage IN ('active', 'deleted')), 
	CONSTRAINT uq_experiments_workspace_name UNIQUE (workspace, name)
);
INSERT INTO "experiments" VALUES(0,'Default','/home/me/mlruns/0','active',1796000302953,1796000302953,'default');
INSERT INTO "experiments" VALUES(1,'dropout','/home/me/mlruns/1','active',1796000302989,1796000302989,'default');
INSERT INTO "experiments" VALUES(2,'nothing','/home/me/mlruns/2','active',1796000305657,1796000305657,'default');
CREATE TABLE "latest_metrics" (
	"key" VARCHAR(250) NOT NULL, 
	value FLOAT NOT NULL, 
	timestamp BIGINT, 
	step BIGINT NOT NULL, 
	is_nan BOOLEAN NOT NULL, 
	run_uuid VARCHAR(32) NOT NULL, 
	CONSTRAINT latest_metric_pk PRIMARY KEY ("key", run_uuid), 
	FOREIGN KEY(run_uuid) REFERENCES runs (run_uuid), 
	CHECK (is_nan IN (0, 1))
);
INSERT INTO "latest_metrics" VALUES('val_acc',0.8,1796000304135,2,0,'4c4153cbf258400289a9cf72897fd688');
INSERT INTO "latest_metrics" VALUES('val_acc',8.50000000000000088e-01,1796000304343,2,0,'3a5030a88ee44f51a5f1ac3fa10ca005');
INSERT INTO "latest_metrics" VALUES('val_acc',0.802,1796000304479,2,0,'7f77a2b5c630493fbe5fc7ca2aed7b01');
INSERT INTO "latest_metrics" VALUES('val_acc',8.5200000000000009e-01,1796000304617,2,0,'2e0ff9cac50643469b031952e99d7d4a');
INSERT INTO "latest_metrics" VALUES('val_acc',0.804,1796000304767,2,0,'ea9a76a9eb044034a7d97bf61f634d81');
INSERT INTO "latest_metrics" VALUES('val_acc',8.54000000000000092e-01,1796000304952,2,0,'f80d75c814f5408da07f2ba3b79e39d9');
INSERT INTO "latest_metrics" VALUES('val_acc',0.806,1796000305123,2,0,'93ec8a07e0174e26a86f0611775d5351');
INSERT INTO "latest_metrics" VALUES('val_acc',8.56000000000000094e-01,1796000305299,2,0,'6499b049de494f5dac46b2dfb65a7f91');
INSERT INTO "latest_metrics" VALUES('val_acc',0.808,1796000305494,2,0,'db87a4745f214dae82004fe8be977da5');
INSERT INTO "latest_metrics" VALUES('val_acc',8.58000000000000095e-01,1796000305625,2,0,'9cd29ecd37e64f62a4a96b833e65fa86');
INSERT INTO "latest_metrics" VALUES('val_acc',0.8,1796000305700,2,0,'38e3bb65121749ee928793bf7f286ea0');
INSERT INTO "latest_metrics" VALUES('val_acc',0.8,1796000305768,2,0,'a6280617bcef46eaa7014d0c726e0d27');
INSERT INTO "latest_metrics" VALUES('val_acc',0.802,1796000305895,2,0,'d473da1c01114d7f913ea77763bc1780');
INSERT INTO "latest_metrics" VALUES('val_acc',0.802,1796000306122,2,0,'0996743dc629451d9d1ce41dc51a6392');
INSERT INTO "latest_metrics" VALUES('val_acc',0.804,1796000306311,2,0,'84e3e7b7e69c465e9b3dbc091b86f8ff');
INSERT INTO "latest_metrics" VALUES('val_acc',0.804,1796000306595,2,0,'c06057bb54b342918653d3d17ba6b686');
INSERT INTO "latest_metrics" VALUES('val_acc',0.806,1796000306790,2,0,'622093ddeb4842d89403ec25469492f9');
INSERT INTO "latest_metrics" VALUES('val_acc',0.806,1796000306987,2,0,'aee1fa0853c14a379b48f5634b8c82c5');
INSERT INTO "latest_metrics" VALUES('val_acc',0.808,1796000307376,2,0,'ce639c6da998419da60ae20c1aeadd5d');
INSERT INTO "latest_metrics" VALUES('val_acc',0.808,1796000307639,2,0,'a9783820bcb84792bcce744a5aee0517');
CREATE TABLE "params" (
	"key" VARCHAR(250) NOT NULL, 
	value VARCHAR(8000) NOT NULL, 
	run_uuid VARCHAR(32) NOT NULL, 
	CONSTRAINT param_pk PRIMARY KEY ("key", run_uuid), 
	FOREIGN KEY(run_uuid) REFERENCES runs (run_uuid)
);
INSERT INTO "params" VALUES('dropout','0.0','4c4153cbf258400289a9cf72897fd688');
INSERT INTO "params" VALUES('seed','0','4c4153cbf258400289a9cf72897fd688');
INSERT INTO "params" VALUES('dropout','0.3','3a5030a88ee44f51a5f1ac3fa10ca005');
INSERT INTO "params" VALUES('seed','0','3a5030a88ee44f51a5f1ac3fa10ca005');
INSERT INTO "params" VALUES('dropout','0.0','7f77a2b5c630493fbe5fc7ca2aed7b01');
INSERT INTO "params" VALUES('seed','1','7f77a2b5c630493fbe5fc7ca2aed7b01');
INSERT INTO "params" VALUES('dropout','0.3','2e0ff9cac50643469b031952e99d7d4a');
INSERT INTO "params" VALUES('seed','1','2e0ff9cac50643469b031952e99d7d4a');
INSERT INTO "params" VALUES('dropout','0.0','ea9a76a9eb044034a7d97bf61f634d81');
INSERT INTO "params" VALUES('seed','2','ea9a76a9eb044034a7d97bf61f634d81');
INSERT INTO "params" VALUES('dropout','0.3','f80d75c814f5408da07f2ba3b79e39d9');
INSERT INTO "params" VALUES('seed','2','f80d75c814f5408da07f2ba3b79e39d9');
INSERT INTO "params" VALUES('dropout','0.0','93ec8a07e0174e26a86f0611775d5351');
INSERT INTO "params" VALUES('seed','3','93ec8a07e0174e26a86f0611775d5351');
INSERT INTO "params" VALUES('dropout','0.3','6499b049de494f5dac46b2dfb65a7f91');
INSERT INTO "params" VALUES('seed','3','6499b049de494f5dac46b2dfb65a7f91');
INSERT INTO "params" VALUES('dropout','0.0','db87a4745f214dae82004fe8be977da5');
INSERT INTO "params" VALUES('seed','4','db87a4745f214dae82004fe8be977da5');
INSERT INTO "params" VALUES('dropout','0.3','9cd29ecd37e64f62a4a96b833e65fa86');
INSERT INTO "params" VALUES('seed','4','9cd29ecd37e64f62a4a96b833e65fa86');
INSERT INTO "params" VALUES('dropout','0.0','38e3bb65121749ee928793bf7f286ea0');
INSERT INTO "params" VALUES('seed','0','38e3bb65121749ee928793bf7f286ea0');
INSERT INTO "params" VALUES('dropout','0.3','a6280617bcef46eaa7014d0c726e0d27');
INSERT INTO "params" VALUES('seed','0','a6280617bcef46eaa7014d0c726e0d27');
INSERT INTO "params" VALUES('dropout','0.0','d473da1c01114d7f913ea77763bc1780');
INSERT INTO "params" VALUES('seed','1','d473da1c01114d7f913ea77763bc1780');
INSERT INTO "params" VALUES('dropout','0.3','0996743dc629451d9d1ce41dc51a6392');
INSERT INTO "params" VALUES('seed','1','0996743dc629451d9d1ce41dc51a6392');
INSERT INTO "params" VALUES('dropout','0.0','84e3e7b7e69c465e9b3dbc091b86f8ff');
INSERT INTO "params" VALUES('seed','2','84e3e7b7e69c465e9b3dbc091b86f8ff');
INSERT INTO "params" VALUES('dropout','0.3','c06057bb54b342918653d3d17ba6b686');
INSERT INTO "params" VALUES('seed','2','c06057bb54b342918653d3d17ba6b686');
INSERT INTO "params" VALUES('dropout','0.0','622093ddeb4842d89403ec25469492f9');
INSERT INTO "params" VALUES('seed','3','622093ddeb4842d89403ec25469492f9');
INSERT INTO "params" VALUES('dropout','0.3','aee1fa0853c14a379b48f5634b8c82c5');
INSERT INTO "params" VALUES('seed','3','aee1fa0853c14a379b48f5634b8c82c5');
INSERT INTO "params" VALUES('dropout','0.0','ce639c6da998419da60ae20c1aeadd5d');
INSERT INTO "params" VALUES('seed','4','ce639c6da998419da60ae20c1aeadd5d');
INSERT INTO "params" VALUES('dropout','0.3','a9783820bcb84792bcce744a5aee0517');
INSERT INTO "params" VALUES('seed','4','a9783820bcb84792bcce744a5aee0517');
INSERT INTO "params" VALUES('dropout','0.3','4a65a7779a324d8c988991774153edc7');
INSERT INTO "params" VALUES('seed','9','4a65a7779a324d8c988991774153edc7');
CREATE TABLE "runs" (
	run_uuid VARCHAR(32) NOT NULL, 
	name VARCHAR(250), 
	source_type VARCHAR(20), 
	source_name VARCHAR(500), 
	entry_point_name VARCHAR(50), 
	user_id VARCHAR(256), 
	status VARCHAR(9), 
	start_time BIGINT, 
	end_time BIGINT, 
	source_version VARCHAR(50), 
	lifecycle_stage VARCHAR(20), 
	artifact_uri VARCHAR(200), 
	experiment_id INTEGER, deleted_time BIGINT, 
	CONSTRAINT run_pk PRIMARY KEY (run_uuid), 
	CONSTRAINT runs_lifecycle_stage CHECK (lifecycle_stage IN ('active', 'deleted')), 
	CONSTRAINT source_type CHECK (source_type IN ('NOTEBOOK', 'JOB', 'LOCAL', 'UNKNOWN', 'PROJECT')), 
	FOREIGN KEY(experiment_id) REFERENCES experiments (experiment_id), 
	CHECK (status IN ('SCHEDULED', 'FAILED', 'FINISHED', 'RUNNING', 'KILLED'))
);
INSERT INTO "runs" VALUES('4c4153cbf258400289a9cf72897fd688','0.0-0','UNKNOWN','','','root','FINISHED',1796000304021,1796000304178,'','active','/home/me/mlruns/1/4c4153cbf258400289a9cf72897fd688/artifacts',1,NULL);
INSERT INTO "runs" VALUES('3a5030a88ee44f51a5f1ac3fa10ca005','0.3-0','UNKNOWN','','','root','FINISHED',1796000304221,1796000304379,'','active','/home/me/mlruns/1/3a5030a88ee44f51a5f1ac3fa10ca005/artifacts',1,NULL);
INSERT INTO "runs" VALUES('7f77a2b5c630493fbe5fc7ca2aed7b01','0.0-1','UNKNOWN','','','root','FINISHED',1796000304435,1796000304498,'','active','/home/me/mlruns/1/7f77a2b5c630493fbe5fc7ca2aed7b01/artifacts',1,NULL);
INSERT INTO "runs" VALUES('2e0ff9cac50643469b031952e99d7d4a','0.3-1','UNKNOWN','','','root','FINISHED',1796000304528,1796000304640,'','active','/home/me/mlruns/1/2e0ff9cac50643469b031952e99d7d4a/artifacts',1,NULL);
INSERT INTO "runs" VALUES('ea9a76a9eb044034a7d97bf61f634d81','0.0-2','UNKNOWN','','','root','FINISHED',1796000304672,1796000304798,'','active','/home/me/mlruns/1/ea9a76a9eb044034a7d97bf61f634d81/artifacts',1,NULL);
INSERT INTO "runs" VALUES('f80d75c814f5408da07f2ba3b79e39d9','0.3-2','UNKNOWN','','','root','FINISHED',1796000304828,1796000304997,'','active','/home/me/mlruns/1/f80d75c814f5408da07f2ba3b79e39d9/artifacts',1,NULL);
INSERT INTO "runs" VALUES('93ec8a07e0174e26a86f0611775d5351','0.0-3','UNKNOWN','','','root','FINISHED',1796000305020,1796000305165,'','active','/home/me/mlruns/1/93ec8a07e0174e26a86f0611775d5351/artifacts',1,NULL);
INSERT INTO "runs" VALUES('6499b049de494f5dac46b2dfb65a7f91','0.3-3','UNKNOWN','','','root','FINISHED',1796000305192,1796000305343,'','active','/home/me/mlruns/1/6499b049de494f5dac46b2dfb65a7f91/artifacts',1,NULL);
INSERT INTO "runs" VALUES('db87a4745f214dae82004fe8be977da5','0.0-4','UNKNOWN','','','root','FINISHED',1796000305388,1796000305535,'','active','/home/me/mlruns/1/db87a4745f214dae82004fe8be977da5/artifacts',1,NULL);
INSERT INTO "runs" VALUES('9cd29ecd37e64f62a4a96b833e65fa86','0.3-4','UNKNOWN','','','root','FINISHED',1796000305574,1796000305635,'','active','/home/me/mlruns/1/9cd29ecd37e64f62a4a96b833e65fa86/artifacts',1,NULL);
INSERT INTO "runs" VALUES('38e3bb65121749ee928793bf7f286ea0','0.0-0','UNKNOWN','','','root','FINISHED',1796000305672,1796000305707,'','active','/home/me/mlruns/2/38e3bb65121749ee928793bf7f286ea0/artifacts',2,NULL);
INSERT INTO "runs" VALUES('a6280617bcef46eaa7014d0c726e0d27','0.3-0','UNKNOWN','','','root','FINISHED',1796000305720,1796000305775,'','active','/home/me/mlruns/2/a6280617bcef46eaa7014d0c726e0d27/artifacts',2,NULL);
INSERT INTO "runs" VALUES('d473da1c01114d7f913ea77763bc1780','0.0-1','UNKNOWN','','','root','FINISHED',1796000305788,1796000305940,'','active','/home/me/mlruns/2/d473da1c01114d7f913ea77763bc1780/artifacts',2,NULL);
INSERT INTO "runs" VALUES('0996743dc629451d9d1ce41dc51a6392','0.3-1','UNKNOWN','','','root','FINISHED',1796000305989,1796000306164,'','active','/home/me/mlruns/2/0996743dc629451d9d1ce41dc51a6392/artifacts',2,NULL);
INSERT INTO "runs" VALUES('84e3e7b7e69c465e9b3dbc091b86f8ff','0.0-2','UNKNOWN','','','root','FINISHED',1796000306193,1796000306363,'','active','/home/me/mlruns/2/84e3e7b7e69c465e9b3dbc091b86f8ff/artifacts',2,NULL);
INSERT INTO "runs" VALUES('c06057bb54b342918653d3d17ba6b686','0.3-2','UNKNOWN','','','root','FINISHED',1796000306423,1796000306642,'','active','/home/me/mlruns/2/c06057bb54b342918653d3d17ba6b686/artifacts',2,NULL);
INSERT INTO "runs" VALUES('622093ddeb4842d89403ec25469492f9','0.0-3','UNKNOWN','','','root','FINISHED',1796000306681,1796000306822,'','active','/home/me/mlruns/2/622093ddeb4842d89403ec25469492f9/artifacts',2,NULL);
INSERT INTO "runs" VALUES('aee1fa0853c14a379b48f5634b8c82c5','0.3-3','UNKNOWN','','','root','FINISHED',1796000306853,1796000307023,'','active','/home/me/mlruns/2/aee1fa0853c14a379b48f5634b8c82c5/artifacts',2,NULL);
INSERT INTO "runs" VALUES('ce639c6da998419da60ae20c1aeadd5d','0.0-4','UNKNOWN','','','root','FINISHED',1796000307048,1796000307483,'','active','/home/me/mlruns/2/ce639c6da998419da60ae20c1aeadd5d/artifacts',2,NULL);
INSERT INTO "runs" VALUES('a9783820bcb84792bcce744a5aee0517','0.3-4','UNKNOWN','','','root','FINISHED',1796000307509,1796000307665,'','active','/home/me/mlruns/2/a9783820bcb84792bcce744a5aee0517/artifacts',2,NULL);
INSERT INTO "runs" VALUES('4a65a7779a324d8c988991774153edc7','deleted','UNKNOWN','','','root','FINISHED',1796000307731,1796000307795,'','deleted','/home/me/mlruns/1/4a65a7779a324d8c988991774153edc7/artifacts',1,1796000307840);
CREATE TABLE "tags" (
	"key" VARCHAR(250) NOT NULL, 
	value VARCHAR(8000), 
	run_uuid VARCHAR(32) NOT NULL, 
	CONSTRAINT tag_pk PRIMARY KEY ("key", run_uuid), 
	FOREIGN KEY(run_uuid) REFERENCES runs (run_uuid)
);
INSERT INTO "tags" VALUES('team','t0','4c4153cbf258400289a9cf72897fd688');
INSERT INTO "tags" VALUES('team','t0','3a5030a88ee44f51a5f1ac3fa10ca005');
INSERT INTO "tags" VALUES('team','t1','7f77a2b5c630493fbe5fc7ca2aed7b01');
INSERT INTO "tags" VALUES('team','t1','2e0ff9cac50643469b031952e99d7d4a');
INSERT INTO "tags" VALUES('team','t0','ea9a76a9eb044034a7d97bf61f634d81');
INSERT INTO "tags" VALUES('team','t0','f80d75c814f5408da07f2ba3b79e39d9');
INSERT INTO "tags" VALUES('team','t1','93ec8a07e0174e26a86f0611775d5351');
INSERT INTO "tags" VALUES('team','t1','6499b049de494f5dac46b2dfb65a7f91');
INSERT INTO "tags" VALUES('team','t0','db87a4745f214dae82004fe8be977da5');
INSERT INTO "tags" VALUES('team','t0','9cd29ecd37e64f62a4a96b833e65fa86');
INSERT INTO "tags" VALUES('team','t0','38e3bb65121749ee928793bf7f286ea0');
INSERT INTO "tags" VALUES('team','t0','a6280617bcef46eaa7014d0c726e0d27');
INSERT INTO "tags" VALUES('team','t1','d473da1c01114d7f913ea77763bc1780');
INSERT INTO "tags" VALUES('team','t1','0996743dc629451d9d1ce41dc51a6392');
INSERT INTO "tags" VALUES('team','t0','84e3e7b7e69c465e9b3dbc091b86f8ff');
INSERT INTO "tags" VALUES('team','t0','c06057bb54b342918653d3d17ba6b686');
INSERT INTO "tags" VALUES('team','t1','622093ddeb4842d89403ec25469492f9');
INSERT INTO "tags" VALUES('team','t1','aee1fa0853c14a379b48f5634b8c82c5');
INSERT INTO "tags" VALUES('team','t0','ce639c6da998419da60ae20c1aeadd5d');
INSERT INTO "tags" VALUES('team','t0','a9783820bcb84792bcce744a5aee0517');
