/*
 * Records on disk: what decodes must encode and decode again to the same text, and a failure always
 * explains itself.
 */
#include "fuzz.h"
#include "state/records.h"
#include "state/snapshots.h"
#include "util/json.h"
#include "util/mem.h"

static void round_trip_vm(const json_t *doc)
{
	auto_vm Vm vm = { 0 };
	auto_vm Vm again = { 0 };
	auto_error err = NULL;

	if (vm_from_json(doc, &vm, &err) < 0) {
		CHECK(err);
		return;
	}
	json_auto_t *first = vm_to_json(&vm);
	CHECK(vm_from_json(first, &again, &err) == 0);
	json_auto_t *second = vm_to_json(&again);
	CHECK(json_equal(first, second));
}

static void round_trip_image(const json_t *doc)
{
	auto_image Image image = { 0 };
	auto_image Image again = { 0 };
	auto_error err = NULL;

	if (image_from_json(doc, &image, &err) < 0) {
		CHECK(err);
		return;
	}
	json_auto_t *first = image_to_json(&image);
	CHECK(image_from_json(first, &again, &err) == 0);
	json_auto_t *second = image_to_json(&again);
	CHECK(json_equal(first, second));
}

static void round_trip_snapshot(const json_t *doc)
{
	auto_snapshot Snapshot snapshot = { 0 };
	auto_snapshot Snapshot again = { 0 };
	auto_error err = NULL;

	if (snapshot_from_json(doc, &snapshot, &err) < 0) {
		CHECK(err);
		return;
	}
	json_auto_t *first = snapshot_to_json(&snapshot);
	CHECK(snapshot_from_json(first, &again, &err) == 0);
	json_auto_t *second = snapshot_to_json(&again);
	CHECK(json_equal(first, second));
}

static void read_config(const json_t *doc)
{
	auto_config Config config = { 0 };
	auto_error err = NULL;

	if (config_from_json(doc, &config, &err) < 0)
		CHECK(err);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	json_auto_t *doc = NULL;
	auto_error err = NULL;

	if (json_parse_text((const char *)data, size, &doc, &err) < 0) {
		CHECK(err);
		return 0;
	}
	round_trip_vm(doc);
	round_trip_image(doc);
	round_trip_snapshot(doc);
	read_config(doc);
	return 0;
}
