#include "test.h"

#include <unistd.h>

#include "state/launch.h"
#include "util/fs.h"
#include "util/mem.h"

static char dir[] = "/tmp/ember-test-launch-XXXXXX";

static char *in_dir(const char *name)
{
	return path_join(dir, name);
}

static void make_plan(LaunchPlan *plan)
{
	*plan = (LaunchPlan){
		.vm_name = xstrdup("web"),
		.vm_id = xstrdup("11111111-2222-4333-8444-555555555555"),
		.driver = xstrdup("qemu"),
		.hypervisor = xstrdup("qemu"),
		.accelerator = xstrdup("tcg"),
		.state_dir = xstrdup("/s"),
		.vm_dir = xstrdup("/s/vms/web"),
		.run_dir = xstrdup("/r/11111111"),
		.control_socket = xstrdup("/r/11111111/qmp.sock"),
		.agent_socket = xstrdup("/r/11111111/agent.sock"),
		.keeper_socket = xstrdup("/r/11111111/keeper.sock"),
	};
	strv_push(&plan->argv, "/usr/bin/qemu");
	strv_push(&plan->argv, "-append");
	strv_push(&plan->argv, "a b,c \"d\"");
}

static void test_plan_round_trip(void)
{
	auto_launch_plan LaunchPlan plan = { 0 };
	auto_launch_plan LaunchPlan back = { 0 };
	auto_free char *path = in_dir("launch.json");
	auto_error err = NULL;

	make_plan(&plan);
	CHECK_OK(launch_plan_write(path, &plan, &err), err);
	CHECK_OK(launch_plan_read(path, &back, &err), err);
	CHECK_STR(back.vm_name, "web");
	CHECK_STR(back.keeper_socket, plan.keeper_socket);
	CHECK_INT(back.argv.count, 3);
	CHECK_STR(back.argv.items[2], "a b,c \"d\"");
}

static void test_plan_refused(void)
{
	static const char *const bad[] = {
		"",
		"[]",
		"{\"schema\": 2}",
		"{\"schema\": 1, \"vm_name\": 7}",
		"{\"schema\": 1, \"vm_name\": \"a\"}",
	};
	auto_free char *path = in_dir("bad.json");

	for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
		LaunchPlan plan = { 0 };
		auto_error err = NULL;

		CHECK_OK(fs_write_atomic(path, bad[i], strlen(bad[i]), 0600, false, &err), err);
		CHECK(launch_plan_read(path, &plan, &err) < 0);
		CHECK(err);
		CHECK(!plan.vm_name);
	}
}

static void test_exit_report(void)
{
	auto_exit_report ExitReport back = { 0 };
	auto_free char *reason = xstrdup("guest-shutdown");
	auto_free char *at = xstrdup("2026-01-02T03:04:05Z");
	ExitReport report = { .reason = reason, .status = -1, .at = at };
	auto_free char *path = in_dir("exit.json");
	auto_error err = NULL;

	CHECK_FAILS(exit_report_read(path, &back, &err), err, ERR_NOT_FOUND);
	CHECK_OK(exit_report_write(path, &report, &err), err);
	CHECK_OK(exit_report_read(path, &back, &err), err);
	CHECK_STR(back.reason, "guest-shutdown");
	CHECK_INT(back.status, -1);
}

static void test_clean_up(void)
{
	auto_error err = NULL;

	CHECK_OK(fs_remove_tree(dir, &err), err);
}

int main(void)
{
	static const Test tests[] = {
		{ "a plan survives the disk", test_plan_round_trip },
		{ "a bad plan is refused whole", test_plan_refused },
		{ "an exit report survives the disk", test_exit_report },
		{ "clean up", test_clean_up },
	};

	if (!mkdtemp(dir))
		return EXIT_FAILURE;
	return test_main(tests, ARRAY_SIZE(tests));
}
