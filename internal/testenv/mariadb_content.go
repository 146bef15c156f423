package testenv

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"os/exec"
	"slices"
	"strings"
)

// Plant fills a database with what dumps get wrong: blobs of every byte, emoji,
// zero dates, generated columns, views on views, triggers, routines, events,
// partitions, foreign keys in a circle, names that need quotes.
func (m *MariaDBServer) Plant(database string, rows int) {
	m.t.Helper()
	m.Do(database,
		"SET sql_mode = 'NO_ENGINE_SUBSTITUTION'", "SET SESSION foreign_key_checks = 0",
		"CREATE TABLE customers (id INT AUTO_INCREMENT PRIMARY KEY, name VARCHAR(100) CHARACTER SET utf8mb4 NOT NULL, latin VARCHAR(50) CHARACTER SET latin1, best INT NULL, "+
			"full_name VARCHAR(210) GENERATED ALWAYS AS (concat(name, '!')) VIRTUAL, kept INT GENERATED ALWAYS AS (id_hint * 2) STORED, id_hint INT, "+
			"KEY (best), CONSTRAINT best_order FOREIGN KEY (best) REFERENCES orders (id))",
		"CREATE TABLE orders (id INT AUTO_INCREMENT PRIMARY KEY, customer INT NOT NULL, price DECIMAL(65,30), at DATETIME(6), ts TIMESTAMP NULL, empty_date DATE, bits BIT(13), "+
			"kind ENUM('a','b''c','d,e'), tags SET('x','y'), doc JSON, ratio DOUBLE, small FLOAT, KEY (customer), CONSTRAINT of_customer FOREIGN KEY (customer) REFERENCES customers (id))",
		"CREATE TABLE blobs (id INT PRIMARY KEY, b LONGBLOB, v VARBINARY(255), g GEOMETRY, u UUID, ip INET6)",
		"CREATE TABLE `odd ``name'\" -- 数据` (`a b` INT, `select` TEXT, PRIMARY KEY (`a b`))",
		"CREATE TABLE parts (id INT NOT NULL, y INT NOT NULL, t TEXT, PRIMARY KEY (id, y)) PARTITION BY RANGE (y) (PARTITION p0 VALUES LESS THAN (10), PARTITION p1 VALUES LESS THAN MAXVALUE)",
		"CREATE TABLE log (id INT AUTO_INCREMENT PRIMARY KEY, what TEXT)",
		"CREATE SEQUENCE numbers START WITH 7 INCREMENT BY 3",
		"SELECT NEXTVAL(numbers)",
		"CREATE VIEW v_orders AS SELECT o.id, c.name, o.price FROM orders o JOIN customers c ON c.id = o.customer",
		"CREATE VIEW a_view_on_a_view AS SELECT name, sum(price) AS total FROM v_orders GROUP BY name",
		"CREATE TRIGGER before_log BEFORE INSERT ON log FOR EACH ROW SET NEW.what = concat(NEW.what, ' — «logged» 🎉')",
		"CREATE TRIGGER after_customer AFTER INSERT ON customers FOR EACH ROW BEGIN INSERT INTO log (what) VALUES (concat('customer ', NEW.name, ' `;` $$ //')); END",
		"CREATE FUNCTION twice(n INT) RETURNS INT DETERMINISTIC RETURN n * 2",
		"CREATE PROCEDURE fill(IN n INT) BEGIN DECLARE i INT DEFAULT 0; WHILE i < n DO INSERT INTO log (what) VALUES ('delimiter ;; \\\\ ''quoted'''); SET i = i + 1; END WHILE; END",
		"CREATE EVENT nightly ON SCHEDULE EVERY 1 DAY STARTS '2031-01-01 03:00:00' COMMENT 'it''s nightly' DO DELETE FROM log WHERE id < 0",
		"INSERT INTO customers (id, name, latin, best, id_hint) VALUES (1, 'Zoë 🎉 \\\\ ''x'' \\n\\0\\Z', 'caf\u00e9', 1, 4), (2, '', NULL, NULL, NULL)",
		"INSERT INTO orders VALUES (1, 1, 12345678901234567890.123456789012345678901234567890, '2026-03-29 02:30:00.123456', '2026-10-25 00:30:00', '0000-00-00', b'1010101010101', 'b''c', 'x,y', '{\"k\": [1, null, \"\u00fc\"]}', 0.1, 1e-30), "+
			"(2, 1, NULL, NULL, NULL, NULL, NULL, '', '', NULL, -1.7976931348623157e308, NULL)",
		"INSERT INTO blobs VALUES (1, UNHEX('"+everyByte()+"'), UNHEX('"+everyByte()[:510]+"'), ST_GeomFromText('POLYGON((0 0,1 0,1 1,0 0))'), '123e4567-e89b-12d3-a456-426655440000', '2001:db8::1'), (2, '', NULL, NULL, NULL, NULL), (3, REPEAT(0xFF, 1500000), '', NULL, NULL, NULL)",
		"INSERT INTO `odd ``name'\" -- 数据` VALUES (1, 'a\ttab'), (2, '-- Dump completed on 2026-01-01  0:00:00')",
		"INSERT INTO parts SELECT seq, seq % 20, REPEAT(MD5(seq), 1 + seq % 7) FROM seq_1_to_"+fmt.Sprint(rows),
	)
}

func everyByte() string {
	b := make([]byte, 256)
	for i := range b {
		b[i] = byte(i)
	}
	return hex.EncodeToString(b)
}

// Content says what is in a database: of each table the definition and a hash of all
// rows, of everything else the definition, by names that are the same in a copy
// under another name.
func (m *MariaDBServer) Content(database string) map[string]string {
	m.t.Helper()
	content := map[string]string{}
	clean := func(text string) string {
		return strings.NewReplacer(QuoteName(database)+".", "", "'"+database+"'", "''").Replace(text)
	}
	for _, t := range m.Query(database, "SELECT TABLE_NAME, TABLE_TYPE FROM information_schema.TABLES WHERE TABLE_SCHEMA = DATABASE()") {
		created := m.Query(database, "SHOW CREATE TABLE "+QuoteName(t[0]))[0]
		content[t[1]+" "+t[0]] = clean(created[1])
		rows := m.Query(database, "SELECT * FROM "+QuoteName(t[0]))
		hashes := make([]string, len(rows))
		for i, row := range rows {
			sum := sha256.Sum256([]byte(fmt.Sprintf("%q", row)))
			hashes[i] = string(sum[:])
		}
		slices.Sort(hashes)
		sum := sha256.Sum256([]byte(strings.Join(hashes, "")))
		content["rows of "+t[0]] = fmt.Sprintf("%d %x", len(rows), sum)
	}
	for what, question := range map[string]string{
		"trigger": "SELECT TRIGGER_NAME, ACTION_TIMING, EVENT_MANIPULATION, EVENT_OBJECT_TABLE, ACTION_STATEMENT, SQL_MODE, DEFINER FROM information_schema.TRIGGERS WHERE TRIGGER_SCHEMA = DATABASE()",
		"routine": "SELECT ROUTINE_NAME, ROUTINE_TYPE, DTD_IDENTIFIER, ROUTINE_DEFINITION, IS_DETERMINISTIC, SQL_MODE, DEFINER FROM information_schema.ROUTINES WHERE ROUTINE_SCHEMA = DATABASE()",
		"event":   "SELECT EVENT_NAME, EVENT_DEFINITION, INTERVAL_VALUE, INTERVAL_FIELD, STARTS, STATUS, EVENT_COMMENT, DEFINER FROM information_schema.EVENTS WHERE EVENT_SCHEMA = DATABASE()",
		"schema":  "SELECT 'charset', DEFAULT_CHARACTER_SET_NAME, DEFAULT_COLLATION_NAME FROM information_schema.SCHEMATA WHERE SCHEMA_NAME = DATABASE()",
	} {
		for _, row := range m.Query(database, question) {
			content[what+" "+row[0]] = clean(fmt.Sprintf("%q", row[1:]))
		}
	}
	return content
}

// Load has the stock client load a dump into a database.
func (m *MariaDBServer) Load(database, dump string) error {
	m.t.Helper()
	return m.LoadFrom(database, strings.NewReader(dump))
}

// LoadFrom is Load for a dump that is too large to be held.
func (m *MariaDBServer) LoadFrom(database string, dump io.Reader) error {
	m.t.Helper()
	cmd := exec.CommandContext(m.t.Context(), "mariadb", "--no-defaults", "--socket="+m.Socket(), "--user="+m.User, "--password="+m.Password.Reveal(), "--default-character-set=utf8mb4", "--", database)
	cmd.Stdin = dump
	if out, err := cmd.CombinedOutput(); err != nil || len(out) > 0 {
		return fmt.Errorf("mariadb: %w: %.500s", err, out)
	}
	return nil
}

// SameContent fails the test where two contents differ.
func (m *MariaDBServer) SameContent(want, got map[string]string) {
	m.t.Helper()
	if len(want) < 2 {
		m.t.Errorf("nothing to compare with: %v", want)
	}
	for what, w := range want {
		if got[what] != w {
			m.t.Errorf("%s is\n%.1000s\nwant\n%.1000s", what, got[what], w)
		}
	}
	for what := range got {
		if _, ok := want[what]; !ok {
			m.t.Errorf("%s is there and was not", what)
		}
	}
}
