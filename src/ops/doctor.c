/*
 * doctor: what this host can do, what it lacks, and the command that mends each. Changes no record; a managed store is
 * mounted to be looked at.
 */
#include <stdarg.h>
#include <string.h>

#include "backend/registry.h"
#include "model/size.h"
#include "ops/image_blobs.h"
#include "ops/image_engine.h"
#include "ops/system.h"
#include "util/fs.h"
#include "util/mem.h"
#include "util/os.h"
#include "util/process.h"

#define LOW_SPACE  (1 * GIB)
#define LOW_MEMORY (1 * GIB)

static void add(DoctorReport *report, const char *name, CheckResult result, char *finding,
		const char *mend)
{
	DoctorCheck *check;

	report->items = xreallocarray(report->items, report->count + 1, sizeof(*check));
	check = &report->items[report->count++];
	*check = (DoctorCheck){ .name = xstrdup(name),
				.result = result,
				.finding = finding,
				.mend = xstrdup_null(mend) };
}

void doctor_report_release(DoctorReport *report)
{
	for (size_t i = 0; i < report->count; i++) {
		free(report->items[i].name);
		free(report->items[i].finding);
		free(report->items[i].mend);
	}
	free(report->items);
	*report = (DoctorReport){ 0 };
}

/* An Error as a finding. */
static void add_error(DoctorReport *report, const char *name, CheckResult result, const Error *err)
{
	add(report, name, result, error_sentence(err), error_hint_text(err));
}

static void check_hypervisors(DoctorReport *report)
{
	bool any = false;

	for (size_t i = 0; hypervisor_backends[i]; i++) {
		const HypervisorBackend *backend = hypervisor_backends[i];
		auto_hypervisor_info HypervisorInfo info = { 0 };
		auto_free char *reason = NULL;
		auto_error err = NULL;
		int usable = backend->probe(true, &info, &reason, &err);

		if (usable < 0) {
			add_error(report, backend->name, CHECK_FAIL, err);
			continue;
		}
		if (!usable) {
			add(report, backend->name, CHECK_WARN, steal(&reason), NULL);
			continue;
		}
		any = true;
		add(report, backend->name, CHECK_PASS,
		    xasprintf("version %s, %s", info.version, info.program), NULL);
		if (info.accelerator_reason)
			add(report, "kvm", CHECK_WARN,
			    xasprintf("not used, VMs run under plain emulation (%s): %s",
				      info.accelerator, info.accelerator_reason),
			    NULL);
		else
			add(report, "kvm", CHECK_PASS, xstrdup("runs guests"), NULL);
	}
	if (!any)
		add(report, "hypervisor", CHECK_FAIL, xstrdup("no hypervisor is installed"),
		    "apt-get install qemu-system-x86");
}

static void check_tools(DoctorReport *report)
{
	static const struct {
		const char *program;
		const char *used_for;
	} tools[] = {
		{ "mmdebstrap", "ember image build" },
		{ "newuidmap", "ember image build by other users than root" },
		{ "skopeo", "ember image pull from registries" },
		{ "qemu-img", "import and export of disks in qcow2" },
		{ "e2fsck", "the disk of a VM that was not shut down, taken out as an image," },
		{ "apt-get", "the stock kernel" },
		{ "dpkg-deb", "the stock kernel" },
		{ "lz4", "the stock kernel, where it is packed with it," },
		{ "xz", "the stock kernel, where it is packed with it," },
		{ "zstd", "the stock kernel, where it is packed with it," },
		{ "make", "ember kernel build" },
		{ "gcc", "ember kernel build" },
		{ "flex", "ember kernel build" },
		{ "bison", "ember kernel build" },
		{ "bc", "ember kernel build" },
	};

	for (size_t i = 0; i < ARRAY_SIZE(tools); i++) {
		auto_free char *path = program_find_admin(tools[i].program);
		auto_free char *hint = program_install_hint(tools[i].program);

		if (path)
			add(report, tools[i].program, CHECK_PASS, steal(&path), NULL);
		else
			add(report, tools[i].program, CHECK_WARN,
			    xasprintf("missing: %s needs it", tools[i].used_for), hint);
	}
}

static void check_programs(DoctorReport *report)
{
	static const char *const helpers[] = { "ember-keeper", "ember-image", "ember-guest",
					       "ember-boot" };

	check_tools(report);
	for (size_t i = 0; i < ARRAY_SIZE(helpers); i++) {
		auto_free char *path = NULL;
		auto_error err = NULL;

		if (context_helper(helpers[i], &path, &err) < 0)
			add_error(report, helpers[i], CHECK_FAIL, err);
		else
			add(report, helpers[i], CHECK_PASS, steal(&path), NULL);
	}
}

/* Any of them will do. */
static void check_engine(DoctorReport *report)
{
	auto_error err = NULL;
	const ImageEngine *engine = image_engine_find(NULL, &err);

	if (engine)
		add(report, "container engine", CHECK_PASS,
		    xasprintf("built with %s", image_engine_name(engine)), NULL);
	else
		add(report, "container engine", CHECK_WARN,
		    xstrdup("missing: ember image build -f needs buildah, podman or docker"),
		    error_hint_text(err));
}

static void check_compression(const Context *ctx, DoctorReport *report)
{
	auto_free char *mount = NULL;
	auto_free char *mend = NULL;

	if (!os_compresses(ctx->store_dir, &mount))
		return;
	mend = mount ? xasprintf("mount -o remount,compress=no '%s'", mount)
		     : xasprintf("chattr -c '%s'", ctx->store_dir);
	add(report, "compression", CHECK_WARN,
	    xasprintf(
		    "'%s' is compressed: copies of a disk take a thousand times longer, and nobody can "
		    "tell who uses which bytes",
		    ctx->store_dir),
	    mend);
}

static void check_storage(Context *ctx, DoctorReport *report)
{
	auto_free char *reason = NULL;
	auto_error err = NULL;
	const StorageBackend *storage;
	StorageCapacity capacity;

	if (!ctx->config.instance_id) {
		context_set_site(ctx);
		storage = storage_backend_choose(&ctx->site, &reason, &err);
		if (!storage)
			add_error(report, "storage", CHECK_FAIL, err);
		else
			add(report, "storage", CHECK_PASS,
			    xasprintf("not initialized; `ember init` would choose %s: %s",
				      storage->name, reason),
			    NULL);
		return;
	}
	if (context_open_storage(ctx, &err) < 0 ||
	    ctx->storage->capacity(ctx->pool, &capacity, &err) < 0) {
		add_error(report, "storage", CHECK_FAIL, err);
		return;
	}
	check_compression(ctx, report);
	auto_free char *free_text = size_text(capacity.free_bytes);

	if (capacity.free_bytes < LOW_SPACE)
		add(report, "storage", CHECK_WARN,
		    xasprintf("%s, only %s free", ctx->storage->name, free_text),
		    "ember vm delete NAME");
	else
		add(report, "storage", CHECK_PASS,
		    xasprintf("%s, %s free", ctx->storage->name, free_text), NULL);
}

/* Nobody needs the blobs, so they are the first place to look for space. */
static void check_blobs(const Context *ctx, DoctorReport *report)
{
	auto_free char *held = NULL;
	auto_free char *left = NULL;
	uint64_t count = 0, bytes = 0, free_bytes = 0;

	if (!ctx->config.instance_id || image_blobs_usage(ctx, &count, &bytes, NULL) < 0 ||
	    fs_free_bytes(ctx->store.dir, &free_bytes, NULL) < 0)
		return;
	held = size_text(bytes);
	left = size_text(free_bytes);
	add(report, "blob cache", free_bytes < LOW_SPACE ? CHECK_WARN : CHECK_PASS,
	    xasprintf("%s in %llu blobs, %s free beside them", held, (unsigned long long)count,
		      left),
	    free_bytes < LOW_SPACE ? "ember image prune --blobs" : NULL);
}

static void check_network(const Context *ctx, DoctorReport *report)
{
	const char *wish = ctx->config.network ? ctx->config.network : "auto";
	auto_free char *reason = NULL;
	auto_error err = NULL;
	const NetworkBackend *network = !strcmp(wish, "auto")
						? network_backend_choose(&reason, &err)
						: network_backend_find(wish, &err);

	if (!network) {
		add_error(report, "network", CHECK_FAIL, err);
		return;
	}
	add(report, "network", CHECK_PASS, xasprintf("%s: %s", network->name, network->summary),
	    NULL);
	/* slirp's own door: 10.0.2.2 is the host's loopback. */
	if (!strcmp(network->name, "user"))
		add(report, "host loopback", CHECK_WARN,
		    xstrdup("guests on the user network reach services that listen on this host's 127.0.0.1, as 10.0.2.2"),
		    "ember vm create NAME --network none");
}

static void check_memory(DoctorReport *report)
{
	uint64_t bytes = 0;
	auto_free char *text = NULL;

	if (os_memory_bytes(&bytes) < 0)
		return;
	text = size_text(bytes);
	add(report, "memory", bytes < LOW_MEMORY ? CHECK_WARN : CHECK_PASS,
	    xasprintf("%s in this host", text), NULL);
}

static void check_leaks(Context *ctx, DoctorReport *report)
{
	auto_strv Strv actions = { 0 };
	auto_error err = NULL;

	if (!ctx->config.instance_id)
		return;
	if (ops_reconcile(ctx, true, &actions, &err) < 0) {
		add_error(report, "records", CHECK_FAIL, err);
		return;
	}
	if (actions.count) {
		auto_free char *list = strv_join(&actions, "; ");

		add(report, "records", CHECK_WARN, steal(&list), "ember reconcile");
	} else {
		add(report, "records", CHECK_PASS,
		    xstrdup("agree with what runs and what is stored"), NULL);
	}
}

int ops_doctor(Context *ctx, DoctorReport *out_report, Error **err)
{
	if (store_is_initialized(&ctx->store) && context_load(ctx, err) < 0)
		return -1;
	check_hypervisors(out_report);
	check_storage(ctx, out_report);
	check_blobs(ctx, out_report);
	check_network(ctx, out_report);
	check_programs(out_report);
	check_engine(out_report);
	check_memory(out_report);
	check_leaks(ctx, out_report);
	return 0;
}
