-- A database with a bit of everything that a dump can get wrong.
CREATE SCHEMA app;
CREATE SCHEMA "Sch ema.ü";
CREATE EXTENSION hstore SCHEMA app;
CREATE EXTENSION pg_trgm SCHEMA public;
CREATE EXTENSION citext SCHEMA public;
CREATE TYPE app.mood AS ENUM ('sad', 'ok', 'happy 🙂');
CREATE DOMAIN app.percent AS numeric(5, 2) CHECK (VALUE BETWEEN 0 AND 100);
CREATE TYPE app.pair AS (a int, b text);
CREATE SEQUENCE app.counter START 1000 INCREMENT 7;
SELECT nextval('app.counter'), nextval('app.counter'), nextval('app.counter');
CREATE TABLE app.bytes (id int PRIMARY KEY, b bytea NOT NULL);
INSERT INTO app.bytes SELECT i, set_byte('\x00', 0, i) FROM generate_series(0, 255) i;
INSERT INTO app.bytes SELECT 1000, string_agg(set_byte('\x00', 0, i % 256), '') FROM generate_series(0, 99999) i;
CREATE TABLE app.texts (id bigint GENERATED ALWAYS AS IDENTITY, t text, c public.citext, n name);
INSERT INTO app.texts (t, c, n) VALUES ('', '', ''), (NULL, NULL, NULL), ('\N', '\.', '\'), (E'tab\tnewline\nreturn\rback\\slash\b\f\v', 'ÄÖÜ', 'x'),
	('👩‍👩‍👧‍👦 𝔘𝔫𝔦𝔠𝔬𝔡𝔢 ﷽ 日本語', 'İ', 'ß'), (E'-- PostgreSQL database dump complete\n--\n\n', ''';DROP TABLE app.bytes;--', '$$');
CREATE TABLE app."Odd ""Näme"".x" ("Col umn" int, "select" text DEFAULT 'it''s', "select2" text GENERATED ALWAYS AS (upper("select")) STORED);
INSERT INTO app."Odd ""Näme"".x" ("Col umn") SELECT generate_series(1, 10);
CREATE TABLE app.numbers (i smallint, r real, d double precision, n numeric, m money, p app.percent, e app.mood, q app.pair, h app.hstore, j jsonb, x xml,
	a int[][], s int4range, u uuid, ip inet, mac macaddr, ts timestamptz, iv interval, bits bit varying, pt point, v tsvector);
INSERT INTO app.numbers VALUES (-32768, 'NaN', '-Infinity', 12345678901234567890.123456789, '-1.50', 99.99, 'happy 🙂', ROW(1, 'a,"b"'), 'a=>1, "b c"=>NULL',
	'{"k": [1, 2.50, "\u00fc"]}', '<a>ü</a>', '{{1,2},{3,NULL}}', '[1,5)', '018f0000-0000-7000-8000-000000000000', '2001:db8::1/64', '08:00:2b:01:02:03',
	'1999-12-31 23:59:59.999999+05', '-1 year 2 days', B'10110', '(1.1,-2e300)', 'a:1 fat:2,4 cat:3');
INSERT INTO app.numbers (d, ts) VALUES (-0.0, 'infinity'), (5e-324, '4713-01-01 BC'), (1.7976931348623157e308, '294276-12-31');
CREATE TABLE public.parent (id int PRIMARY KEY, name public.citext UNIQUE);
CREATE TABLE public.child (id serial PRIMARY KEY, parent int REFERENCES public.parent ON DELETE CASCADE DEFERRABLE INITIALLY DEFERRED, note text CHECK (note <> 'no'));
CREATE INDEX ON public.child USING gin (note public.gin_trgm_ops);
INSERT INTO public.parent SELECT i, 'parent ' || i FROM generate_series(1, 100) i;
INSERT INTO public.child (parent, note) SELECT 1 + i % 100, repeat('note ', i % 20) FROM generate_series(1, 5000) i;
CREATE TABLE public.measure (day date NOT NULL, v float8) PARTITION BY RANGE (day);
CREATE TABLE public.measure_2025 PARTITION OF public.measure FOR VALUES FROM ('2025-01-01') TO ('2026-01-01');
CREATE TABLE public.measure_2026 PARTITION OF public.measure FOR VALUES FROM ('2026-01-01') TO ('2027-01-01') PARTITION BY HASH (v);
CREATE TABLE "Sch ema.ü".measure_2026_a PARTITION OF public.measure_2026 FOR VALUES WITH (MODULUS 2, REMAINDER 0);
CREATE TABLE public.measure_2026_b PARTITION OF public.measure_2026 FOR VALUES WITH (MODULUS 2, REMAINDER 1);
CREATE TABLE public.measure_rest PARTITION OF public.measure DEFAULT;
INSERT INTO public.measure SELECT date '2024-06-01' + i, sin(i) FROM generate_series(0, 999) i;
CREATE TABLE "Sch ema.ü".base (a int);
CREATE TABLE "Sch ema.ü".derived (b int) INHERITS ("Sch ema.ü".base);
INSERT INTO "Sch ema.ü".base VALUES (1);
INSERT INTO "Sch ema.ü".derived VALUES (2, 3);
CREATE TABLE public.empty ();
CREATE UNLOGGED TABLE public.fleeting (x int);
INSERT INTO public.fleeting VALUES (1);
CREATE FUNCTION app.touch() RETURNS trigger LANGUAGE plpgsql AS $fn$
BEGIN
	NEW.note := coalesce(NEW.note, '') || ' touched';
	RETURN NEW;
END
$fn$;
CREATE TRIGGER touch BEFORE UPDATE ON public.child FOR EACH ROW EXECUTE FUNCTION app.touch();
CREATE PROCEDURE app.nothing() LANGUAGE sql BEGIN ATOMIC SELECT 1; END;
CREATE VIEW public.names AS SELECT p.name, count(*) AS children FROM public.parent p JOIN public.child c ON c.parent = p.id GROUP BY p.name;
CREATE MATERIALIZED VIEW app.total AS SELECT count(*) AS n FROM public.child;
CREATE RULE quiet AS ON DELETE TO public.names DO INSTEAD NOTHING;
CREATE STATISTICS app.stat ON parent, note FROM public.child;
COMMENT ON TABLE public.child IS E'it''s a comment\nof two lines';
SELECT lo_from_bytea(424242, '\x0001fffe5c0a0d');
SELECT lo_from_bytea(424243, '');
