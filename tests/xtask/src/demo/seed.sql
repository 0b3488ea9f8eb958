-- A small 3scale-like system database. Every value comes from its row number, so that two runs of
-- the demo hold the same data and one that differs is seen.
SET NAMES utf8mb4;
DROP TABLE IF EXISTS cinstances, accounts, services, log_entries;

CREATE TABLE accounts (
  id BIGINT NOT NULL AUTO_INCREMENT PRIMARY KEY,
  org_name VARCHAR(255) CHARACTER SET utf8mb4 NOT NULL,
  state ENUM('created', 'pending', 'approved', 'suspended') NOT NULL DEFAULT 'created',
  credit DECIMAL(20, 8) NOT NULL,
  extra_fields TEXT CHARACTER SET utf8mb4 NULL,
  created_at DATETIME(6) NOT NULL,
  name_length INT GENERATED ALWAYS AS (CHAR_LENGTH(org_name)) STORED,
  UNIQUE KEY index_accounts_on_org_name (org_name),
  KEY index_accounts_on_state (state)
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4;

CREATE TABLE services (
  id BIGINT NOT NULL AUTO_INCREMENT PRIMARY KEY,
  account_id BIGINT NOT NULL,
  system_name VARCHAR(255) NOT NULL,
  logo BLOB NULL,
  CONSTRAINT services_account FOREIGN KEY (account_id) REFERENCES accounts (id) ON DELETE CASCADE
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4;

CREATE TABLE cinstances (
  id BIGINT NOT NULL AUTO_INCREMENT PRIMARY KEY,
  service_id BIGINT NOT NULL,
  user_key VARBINARY(64) NOT NULL,
  paid_until DATETIME NULL,
  CONSTRAINT cinstances_service FOREIGN KEY (service_id) REFERENCES services (id)
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4;

CREATE TABLE log_entries (
  id BIGINT NOT NULL PRIMARY KEY,
  provider_id BIGINT NOT NULL,
  level TINYINT NOT NULL,
  description VARCHAR(512) NOT NULL,
  KEY index_log_entries_on_provider (provider_id)
) ENGINE=InnoDB DEFAULT CHARSET=latin1;

INSERT INTO accounts (org_name, state, credit, extra_fields, created_at)
SELECT CONCAT('Zürich & Søn "', n, '" 株式会社 ', CHAR(0xF09F8D80 USING utf8mb4)), 1 + n % 4, n * 1.00000001,
       IF(n % 5 = 0, NULL, JSON_OBJECT('line', CONCAT('first', CHAR(10), 'second'), 'tab', CHAR(9), 'quote', '\'', 'n', n)),
       TIMESTAMPADD(MICROSECOND, n * 1000003, '2019-03-31 01:59:59.000001')
FROM (WITH RECURSIVE numbers (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM numbers WHERE n < 900) SELECT n FROM numbers) AS numbers;

INSERT INTO services (account_id, system_name, logo)
SELECT id, CONCAT('api_', id), IF(id % 3 = 0, NULL, CONCAT(UNHEX('0000FF0A0D5C27221A'), UNHEX(SHA2(id, 512)))) FROM accounts;

INSERT INTO cinstances (service_id, user_key, paid_until)
SELECT id, UNHEX(MD5(CONCAT('key', id))), IF(id % 2 = 0, NULL, '2038-01-19 03:14:07') FROM services;

SET SESSION max_recursive_iterations = 100000;
INSERT INTO log_entries (id, provider_id, level, description)
SELECT n, n % 97, n % 7, CONCAT('Invoice ', n, ' for ', SHA2(n, 256), ' was sent: caf', CHAR(0xE9 USING latin1), ' ', REPEAT(SUBSTRING(SHA1(n), 1, 10), 6))
FROM (WITH RECURSIVE numbers (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM numbers WHERE n < 60000) SELECT n FROM numbers) AS numbers;

DROP VIEW IF EXISTS approved_accounts;
CREATE VIEW approved_accounts AS SELECT id, org_name FROM accounts WHERE state = 'approved';

DELIMITER //
CREATE OR REPLACE PROCEDURE suspend_account(IN account BIGINT)
BEGIN
  UPDATE accounts SET state = 'suspended' WHERE id = account;
END //
CREATE OR REPLACE TRIGGER services_name BEFORE INSERT ON services FOR EACH ROW
BEGIN
  SET NEW.system_name = LOWER(NEW.system_name);
END //
DELIMITER ;
