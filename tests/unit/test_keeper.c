/*
 * The keeper and the client, against a fake hypervisor (tests/fake/hypervisor): the real programs,
 * sockets and files, and failures that a real QEMU does not show on demand.
 */
#include "test.h"

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include "agent/client.h"
#include "agent/keeper.h"
#include "state/launch.h"
#include "state/records.h"
#include "state/store.h"
#include "util/fs.h"
#include "util/mem.h"
#include "util/os.h"

#define VM_ID	    "11111111-2222-4333-8444-555555555555"
#define PATIENCE_MS 20000

static char top[] = "/tmp/ember-test-keeper-XXXXXX";
static Store store;
static LaunchPlan plan;
static char *plan_path;
static KeeperIds ids; /* of the VM that runs, or ran last */

static Deadline soon(void)
{
	return deadline_in_ms(PATIENCE_MS);
}

/* A test that failed must not fail the next one. */
static void forget_former(void)
{
	(void)proc_signal(&ids.keeper, SIGKILL, NULL);
	(void)proc_signal(&ids.hypervisor, SIGKILL, NULL);
	(void)proc_wait_gone(&ids.hypervisor, soon(), NULL);
	if (plan.run_dir)
		(void)fs_remove_tree(plan.run_dir, NULL);
}

/* A record as a start in progress leaves it, a plan for a fake that behaves like `mode`. */
static void prepare(const char *mode)
{
	auto_vm Vm vm = { 0 };
	auto_free char *vm_dir = store_vm_dir(&store, "web");
	auto_error err = NULL;

	vm.name = xstrdup("web");
	vm.id = xstrdup(VM_ID);
	vm.image = xstrdup("debian");
	vm.image_id = xstrdup(VM_ID);
	vm.cpus = 1;
	vm.memory_mib = 64;
	vm.disk_size_mib = 64;
	vm.disk_path = xstrdup("/nowhere");
	vm.kernel = xstrdup("stock");
	vm.network_mode = xstrdup("none");
	vm.created_at = xstrdup("2026-01-02T03:04:05Z");
	vm.state = VM_STARTING;
	forget_former();
	launch_plan_release(&plan);
	CHECK_OK(fs_mkdir_all(vm_dir, 0700, &err), err);
	CHECK_OK(records_write_vm_at(vm_dir, &vm, false, &err), err);
	plan = (LaunchPlan){
		.vm_name = xstrdup("web"),
		.vm_id = xstrdup(VM_ID),
		.driver = xstrdup("qemu"),
		.hypervisor = xstrdup("qemu"),
		.accelerator = xstrdup("tcg"),
		.state_dir = xstrdup(store.dir),
		.vm_dir = xstrdup(vm_dir),
		.run_dir = path_join(top, "run"),
	};
	plan.control_socket = path_join(plan.run_dir, "qmp.sock");
	plan.agent_socket = path_join(plan.run_dir, "agent.sock");
	plan.keeper_socket = path_join(plan.run_dir, "keeper.sock");
	strv_push(&plan.argv, getenv("EMBER_FAKE_HYPERVISOR"));
	strv_push(&plan.argv, mode);
	free(plan_path);
	plan_path = path_join(vm_dir, "launch.json");
	CHECK_OK(launch_plan_write(plan_path, &plan, &err), err);
}

static int start(const char *mode, Deadline until, Error **err)
{
	prepare(mode);
	ids = (KeeperIds){ 0 };
	return keeper_start(getenv("EMBER_KEEPER"), plan_path, NULL, until, &ids, err);
}

static Client *connect_client(void)
{
	Client *client = NULL;
	auto_error err = NULL;

	CHECK_OK(client_open(plan.keeper_socket, soon(), &client, &err), err);
	return client;
}

static Client *start_good(void)
{
	Client *client;
	auto_error err = NULL;

	CHECK_OK(start("good", soon(), &err), err);
	client = connect_client();
	CHECK_OK(client_wait_ready(client, soon(), &err), err);
	return client;
}

static void wait_for_state(const char *state)
{
	auto_client client = connect_client();
	auto_error err = NULL;
	bool is_there = false;

	for (int i = 0; i < 1000 && !is_there && !err; i++) {
		auto_vm_status VmStatus status = { 0 };

		CHECK_OK(client_status(client, soon(), &status, &err), err);
		is_there = str_equal(status.state, state);
		if (!is_there)
			(void)poll(NULL, 0, 10);
	}
	CHECK(is_there);
}

/* Nothing of it runs any more, nothing lies about, and the record and the report say so. */
static void check_ended(const char *reason)
{
	auto_exit_report ExitReport report = { 0 };
	auto_free char *path = path_join(plan.vm_dir, "exit.json");
	auto_vm Vm vm = { 0 };
	auto_error err = NULL;

	if (ids.keeper.pid)
		CHECK_INT(proc_wait_gone(&ids.keeper, soon(), &err), 1);
	CHECK(!proc_is_alive(&ids.hypervisor));
	CHECK(!fs_exists(plan.run_dir));
	CHECK_OK(exit_report_read(path, &report, &err), err);
	CHECK_STR(report.reason, reason);
	CHECK_OK(records_read_vm(&store, "web", &vm, &err), err);
	CHECK_STR(vm_state_name(vm.state), "stopped");
	CHECK_INT(vm.process.pid, 0);
	while (waitpid(-1, NULL, WNOHANG) > 0)
		continue;
}

static void stop_good(Client *client)
{
	auto_free char *reason = NULL;
	auto_error err = NULL;

	CHECK_OK(client_stop(client, 10000, &reason, &err), err);
	CHECK_STR(reason, "stopped");
	client_close(client);
	check_ended("stopped");
}

typedef struct Ends {
	int in, out, err;
} Ends;

static int run(Client *client, const char *words, Ends ends, ExecResult *result, Error **err)
{
	auto_strv Strv argv = { 0 };
	auto_free char *copy = xstrdup(words);
	ExecRequest request = {
		.argv = &argv, .stdin_fd = ends.in, .stdout_fd = ends.out, .stderr_fd = ends.err
	};

	for (char *word = strtok(copy, " "); word; word = strtok(NULL, " "))
		strv_push(&argv, word);
	exec_result_release(result);
	return client_exec(client, &request, result, err);
}

static const Ends no_ends = { -1, -1, -1 };

static void test_life(void)
{
	auto_client client = start_good();
	auto_vm_status VmStatus status = { 0 };
	auto_agent_info AgentInfo info = { 0 };
	auto_error err = NULL;

	CHECK_OK(client_status(client, soon(), &status, &err), err);
	CHECK_STR(status.state, "running");
	CHECK(status.agent_ready && status.session != 0);
	CHECK_INT(status.hypervisor.pid, ids.hypervisor.pid);
	CHECK_INT(status.hypervisor.started, ids.hypervisor.started);
	CHECK_OK(client_ping(client, soon(), &info, &err), err);
	CHECK_STR(info.version, "fa?ke"); /* a guest cannot drive our terminal */
	stop_good(steal(&client));
}

static void test_pause(void)
{
	auto_client client = start_good();
	auto_vm_status VmStatus status = { 0 };
	auto_error err = NULL;

	CHECK_OK(client_pause(client, soon(), &err), err);
	CHECK_OK(client_pause(client, soon(), &err), err);
	CHECK_OK(client_status(client, soon(), &status, &err), err);
	CHECK_STR(status.state, "paused");
	CHECK_OK(client_resume(client, soon(), &err), err);
	vm_status_release(&status);
	CHECK_OK(client_status(client, soon(), &status, &err), err);
	CHECK_STR(status.state, "running");
	stop_good(steal(&client));
}

/* Also of one that is paused, and by the node that the disk has now. */
static void test_disk_resize(void)
{
	auto_client client = start_good();
	auto_vm_status VmStatus status = { 0 };
	auto_exec_result ExecResult result = { 0 };
	auto_error err = NULL;

	CHECK_OK(client_status(client, soon(), &status, &err), err);
	CHECK(status.can_resize_disk);
	CHECK_OK(client_disk_resize(client, 3ULL << 30, soon(), &err), err);
	CHECK_OK(client_pause(client, soon(), &err), err);
	CHECK_OK(client_disk_resize(client, 5ULL << 30, soon(), &err), err);
	CHECK_OK(client_disk_resize(client, 5ULL << 30, soon(), &err), err);
	CHECK_FAILS(client_disk_resize(client, 4ULL << 30, soon(), &err), err, ERR_FAILED);
	CHECK_FAILS(client_disk_resize(client, 0, soon(), &err), err, ERR_FAILED);
	CHECK_OK(client_resume(client, soon(), &err), err);
	CHECK_OK(run(client, "disk", no_ends, &result, &err), err);
	CHECK_INT(exec_result_status(&result), 5);
	stop_good(steal(&client));
}

/* Overlay on overlay; one that cannot be put on top does not stay open. */
static void test_disk_switch(void)
{
	auto_client client = start_good();
	auto_vm_status VmStatus status = { 0 };
	auto_exec_result ExecResult result = { 0 };
	auto_error err = NULL;

	CHECK_OK(client_status(client, soon(), &status, &err), err);
	CHECK(status.can_switch_disk);
	CHECK_OK(client_disk_switch(client, "/store/one.qcow2", soon(), &err), err);
	CHECK_OK(client_pause(client, soon(), &err), err);
	CHECK_OK(client_disk_switch(client, "/store/two.qcow2", soon(), &err), err);
	CHECK_OK(client_resume(client, soon(), &err), err);
	CHECK_FAILS(client_disk_switch(client, "/store/missing", soon(), &err), err, ERR_FAILED);
	CHECK_FAILS(client_disk_switch(client, "/store/three.qcow2", soon(), &err), err,
		    ERR_FAILED);
	CHECK_FAILS(client_disk_switch(client, "here.qcow2", soon(), &err), err, ERR_FAILED);
	CHECK_OK(client_disk_resize(client, 3ULL << 30, soon(), &err), err);
	CHECK_OK(run(client, "nodes", no_ends, &result, &err), err);
	CHECK_INT(exec_result_status(&result), 2);
	stop_good(steal(&client));
}

/* A trim may take longer than anybody waits, but not in silence. */
static void test_trim(void)
{
	auto_client client = start_good();
	auto_exec_result ExecResult result = { 0 };
	uint64_t bytes = 0;
	auto_error err = NULL;

	CHECK_OK(run(client, "trim 10 4096", no_ends, &result, &err), err);
	CHECK_OK(client_trim(client, 2000, &bytes, &err), err); /* 10 pings take longer than that */
	CHECK_INT(bytes, 4096);
	CHECK_OK(run(client, "trim 1 9223372036854775807", no_ends, &result, &err), err);
	CHECK_OK(client_trim(client, 2000, &bytes, &err), err);
	CHECK_INT(bytes, INT64_MAX);
	CHECK_OK(run(client, "trim 1 9223372036854775808", no_ends, &result, &err), err);
	CHECK(client_trim(client, 2000, &bytes, &err) < 0);
	CHECK_CONTAINS(error_text(err), "broke the protocol");
	error_clear(&err);
	CHECK_OK(run(client, "deaf", no_ends, &result, &err), err);
	CHECK(client_trim(client, 600, &bytes, &err) < 0);
	CHECK_INT(error_code(err), ERR_TIMEOUT);
	CHECK_CONTAINS(error_text(err), "silent for 0.6 s");
	error_clear(&err);
	CHECK_OK(client_kill(client, &err), err);
	check_ended("killed");
}

/* It ends with whoever asked for it, whatever becomes of him. */
static void test_hold(void)
{
	auto_client client = start_good();
	auto_client other = connect_client();
	auto_error err = NULL;
	HoldEnd end = { 0 };
	Hold hold;

	CHECK_OK(client_hold(client, PATIENCE_MS, soon(), &hold, &err), err);
	wait_for_state("paused");
	CHECK_OK(client_hold_end(&hold, soon(), &end, &err), err);
	CHECK(end.held_us > 0 && !end.is_expired);
	wait_for_state("running");
	CHECK_OK(client_hold(other, PATIENCE_MS, soon(), &hold, &err), err);
	wait_for_state("paused");
	client_close(steal(&other));
	wait_for_state("running");
	/* One that somebody paused is left so. */
	CHECK_OK(client_pause(client, soon(), &err), err);
	other = connect_client();
	CHECK_OK(client_hold(other, PATIENCE_MS, soon(), &hold, &err), err);
	CHECK_OK(client_hold_end(&hold, soon(), &end, &err), err);
	client_close(steal(&other));
	wait_for_state("paused");
	CHECK_OK(client_resume(client, soon(), &err), err);
	stop_good(steal(&client));
}

/* A client that hangs: the VM goes on without it, and it is told. */
static void test_hold_ends_by_itself(void)
{
	auto_client client = start_good();
	auto_client other = connect_client();
	auto_error err = NULL;
	HoldEnd end = { 0 };
	Hold hold;

	CHECK_OK(client_hold(client, 1000, soon(), &hold, &err), err);
	wait_for_state("paused");
	wait_for_state("running");
	CHECK_OK(client_hold_end(&hold, soon(), &end, &err), err);
	CHECK(end.held_us >= 1000000 && end.is_expired);
	/* Somebody else resumes it. */
	CHECK_OK(client_hold(client, PATIENCE_MS, soon(), &hold, &err), err);
	CHECK_OK(client_resume(other, soon(), &err), err);
	CHECK_OK(client_hold_end(&hold, soon(), &end, &err), err);
	CHECK(end.is_expired);
	wait_for_state("running");
	/* One that was paused stays so, and the next hold is told of nothing that was before it. */
	CHECK_OK(client_pause(other, soon(), &err), err);
	CHECK_OK(client_hold(client, 1000, soon(), &hold, &err), err);
	(void)poll(NULL, 0, 1200);
	wait_for_state("paused");
	CHECK_OK(client_hold_end(&hold, soon(), &end, &err), err);
	CHECK(end.is_expired);
	CHECK_OK(client_hold(client, PATIENCE_MS, soon(), &hold, &err), err);
	CHECK_OK(client_hold_end(&hold, soon(), &end, &err), err);
	CHECK(!end.is_expired);
	CHECK_OK(client_resume(other, soon(), &err), err);
	stop_good(steal(&client));
}

/* The host has no room for what the guest writes, and then it has. */
static void test_full_disk(void)
{
	auto_client client = start_good();
	auto_client second = NULL;
	auto_exec_result ExecResult result = { 0 };
	KeeperIds adopted = { 0 };
	auto_error err = NULL;

	CHECK_OK(run(client, "full 2", no_ends, &result, &err), err);
	wait_for_state("paused");
	wait_for_state("running");
	CHECK_OK(run(client, "resumes", no_ends, &result, &err), err);
	CHECK_INT(exec_result_status(&result), 2);
	/* Whoever pauses it finds it paused until he resumes it. */
	CHECK_OK(run(client, "full 1", no_ends, &result, &err), err);
	wait_for_state("paused");
	CHECK_OK(client_pause(client, soon(), &err), err);
	(void)poll(NULL, 0, 1500);
	CHECK_OK(run(client, "resumes", no_ends, &result, &err), err);
	CHECK_INT(exec_result_status(&result), 0);
	CHECK_OK(client_resume(client, soon(), &err), err);
	/* A new keeper goes on where the last one was killed, and nobody waits for what only room can bring. */
	CHECK_OK(run(client, "full 3", no_ends, &result, &err), err);
	wait_for_state("paused");
	CHECK_FAILS(client_resume(client, soon(), &err), err, ERR_STATE);
	CHECK_OK(proc_signal(&ids.keeper, SIGKILL, &err), err);
	CHECK_INT(proc_wait_gone(&ids.keeper, soon(), &err), 1);
	CHECK_OK(keeper_start(getenv("EMBER_KEEPER"), plan_path, &ids.hypervisor, soon(), &adopted,
			      &err),
		 err);
	ids = adopted;
	wait_for_state("paused");
	wait_for_state("running");
	second = connect_client();
	CHECK_OK(client_wait_ready(second, soon(), &err), err);
	stop_good(steal(&second));
}

static void test_failed_start(void)
{
	auto_error err = NULL;

	CHECK(start("exit", soon(), &err) < 0);
	CHECK_CONTAINS(error_text(err), "status 1");
	CHECK_CONTAINS(error_detail_text(err), "no such disk");
	error_clear(&err);
	check_ended("crashed");
	CHECK_FAILS(start("garbage", soon(), &err), err, ERR_FAILED);
	check_ended("killed");
}

static void test_silent_start(void)
{
	auto_error err = NULL;

	CHECK_FAILS(start("silent", deadline_in_ms(300), &err), err, ERR_TIMEOUT);
	check_ended("killed");
}

/* Is any process of ours there besides this one? */
static bool visit_process(const OsProcess *process, void *arg)
{
	bool *is_there = arg;

	*is_there |= strstr(process->command_line, plan_path) != NULL;
	return !*is_there;
}

static bool keeper_is_there(void)
{
	bool is_there = false;

	CHECK(os_process_scan(visit_process, &is_there, NULL) == 0);
	return is_there;
}

/* The keeper's parent dies before the VM runs. */
static void test_starter_dies(void)
{
	pid_t child;

	prepare("silent");
	child = fork();
	if (child == 0) {
		(void)keeper_start(getenv("EMBER_KEEPER"), plan_path, NULL, soon(), &ids, NULL);
		_exit(1);
	}
	for (int i = 0; i < 500 && !fs_exists(plan.control_socket); i++)
		(void)poll(NULL, 0, 10);
	(void)kill(child, SIGKILL);
	(void)waitpid(child, NULL, 0);
	for (int i = 0; i < 500 && keeper_is_there(); i++)
		(void)poll(NULL, 0, 10);
	check_ended("killed");
}

static void test_crash(void)
{
	auto_client client = NULL;
	auto_exec_result ExecResult result = { 0 };
	auto_error err = NULL;

	CHECK_OK(start("dies", soon(), &err), err);
	client = connect_client();
	CHECK_OK(client_wait_ready(client, soon(), &err), err);
	CHECK(run(client, "hang", no_ends, &result, &err) < 0);
	CHECK(err);
	check_ended("crashed");
}

static void test_ladder(void)
{
	auto_client client = NULL;
	auto_free char *reason = NULL;
	auto_error err = NULL;

	CHECK_OK(start("mute", soon(), &err), err);
	client = connect_client();
	CHECK_FAILS(client_wait_ready(client, deadline_in_ms(50), &err), err, ERR_TIMEOUT);
	CHECK_OK(client_stop(client, 5000, &reason, &err), err);
	CHECK_STR(reason, "stopped");
	check_ended("stopped");
	client_close(steal(&client));
	CHECK_OK(start("stubborn", soon(), &err), err);
	client = connect_client();
	free(steal(&reason));
	CHECK_OK(client_stop(client, 5000, &reason, &err), err);
	CHECK_STR(reason, "killed");
	check_ended("killed");
}

static void test_kill(void)
{
	auto_client client = start_good();
	auto_error err = NULL;

	CHECK_OK(client_kill(client, &err), err);
	check_ended("killed");
}

static void test_adoption(void)
{
	auto_client client = start_good();
	auto_client second = NULL;
	auto_exec_result ExecResult result = { 0 };
	KeeperIds adopted = { 0 };
	auto_error err = NULL;

	CHECK_OK(proc_signal(&ids.keeper, SIGKILL, &err), err);
	CHECK_INT(proc_wait_gone(&ids.keeper, soon(), &err), 1);
	CHECK(run(client, "status 1", no_ends, &result, &err) < 0);
	error_clear(&err);
	CHECK_FAILS(client_open(plan.keeper_socket, soon(), &second, &err), err, ERR_NOT_FOUND);
	CHECK_OK(keeper_start(getenv("EMBER_KEEPER"), plan_path, &ids.hypervisor, soon(), &adopted,
			      &err),
		 err);
	CHECK_INT(adopted.hypervisor.pid, ids.hypervisor.pid);
	ids = adopted;
	CHECK_FAILS(keeper_start(getenv("EMBER_KEEPER"), plan_path, &ids.hypervisor, soon(),
				 &adopted, &err),
		    err, ERR_BUSY);
	second = connect_client();
	CHECK_OK(client_wait_ready(second, soon(), &err), err);
	CHECK_OK(run(second, "status 3", no_ends, &result, &err), err);
	CHECK_INT(exec_result_status(&result), 3);
	stop_good(steal(&second));
}

static void test_adoption_of_nobody(void)
{
	KeeperIds adopted;
	ProcId nobody = { .pid = getpid(), .started = 1 };
	auto_error err = NULL;

	prepare("good");
	CHECK_FAILS(
		keeper_start(getenv("EMBER_KEEPER"), plan_path, &nobody, soon(), &adopted, &err),
		err, ERR_NOT_FOUND);
	CHECK_OK(fs_remove_tree(plan.run_dir, &err), err);
}

static void test_exec(void)
{
	auto_client client = start_good();
	auto_exec_result ExecResult result = { 0 };
	auto_error err = NULL;
	char text[8] = "";
	int out[2], errs[2];

	CHECK(pipe2(out, O_CLOEXEC) == 0 && pipe2(errs, O_CLOEXEC) == 0);
	CHECK_OK(run(client, "both", (Ends){ -1, out[1], errs[1] }, &result, &err), err);
	CHECK_INT(exec_result_status(&result), 0);
	CHECK_INT(read(out[0], text, sizeof(text)), 3);
	CHECK(!memcmp(text, "out", 3));
	CHECK_INT(read(errs[0], text, sizeof(text)), 3);
	CHECK(!memcmp(text, "err", 3));
	CHECK_OK(run(client, "status 7", no_ends, &result, &err), err);
	CHECK_INT(exec_result_status(&result), 7);
	CHECK_OK(run(client, "signal 9", no_ends, &result, &err), err);
	CHECK_INT(exec_result_status(&result), 137);
	CHECK_OK(run(client, "what", no_ends, &result, &err), err);
	CHECK_INT(exec_result_status(&result), 127);
	CHECK_STR(result.message, "no such program");
	stop_good(steal(&client));
}

/* More than all windows and buffers together, there and back. */
static void test_exec_stdin(void)
{
	enum { BYTES = 3000000 };
	auto_client client = start_good();
	auto_exec_result ExecResult result = { 0 };
	auto_free char *path = path_join(top, "in");
	auto_free char *back = path_join(top, "out");
	auto_free char *data = xmalloc(BYTES);
	auto_free char *got = NULL;
	size_t got_len;
	auto_error err = NULL;

	for (size_t i = 0; i < BYTES; i++)
		data[i] = (char)(i * 7 + i / 251);
	CHECK_OK(fs_write_atomic(path, data, BYTES, 0600, false, &err), err);
	int in_fd = open(path, O_RDONLY | O_CLOEXEC);
	int out_fd = open(back, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
	CHECK_OK(run(client, "echo-stdin", (Ends){ in_fd, out_fd, -1 }, &result, &err), err);
	close_fd(&in_fd);
	close_fd(&out_fd);
	CHECK_INT(exec_result_status(&result), 0);
	CHECK_OK(fs_read(back, BYTES + 1, &got, &got_len, &err), err);
	CHECK_INT(got_len, BYTES);
	CHECK(!memcmp(got, data, BYTES));
	stop_good(steal(&client));
}

static void test_reader_leaves(void)
{
	auto_client client = start_good();
	auto_exec_result ExecResult result = { 0 };
	auto_error err = NULL;
	int out[2];

	CHECK(pipe2(out, O_CLOEXEC) == 0);
	(void)close(out[0]);
	CHECK_OK(run(client, "flood", (Ends){ -1, out[1], -1 }, &result, &err), err);
	CHECK_INT(exec_result_status(&result), 128 + SIGPIPE);
	/* Also when the command says nothing. */
	CHECK_OK(run(client, "hang", (Ends){ -1, out[1], -1 }, &result, &err), err);
	CHECK_INT(exec_result_status(&result), 128 + SIGPIPE);
	(void)close(out[1]);
	stop_good(steal(&client));
}

static void test_hostile_guest(void)
{
	auto_client client = start_good();
	auto_exec_result ExecResult result = { 0 };
	auto_error err = NULL;
	static const char page[4096];
	int out[2];

	/* A full pipe that nobody reads: none of the output is taken, so no credit is given. */
	CHECK(pipe2(out, O_CLOEXEC | O_NONBLOCK) == 0);
	while (write(out[1], page, sizeof(page)) > 0)
		continue;
	CHECK(run(client, "overrun", (Ends){ -1, out[1], -1 }, &result, &err) < 0);
	CHECK_CONTAINS(error_text(err), "broke the protocol");
	error_clear(&err);
	CHECK(run(client, "odd", no_ends, &result, &err) < 0);
	CHECK_CONTAINS(error_text(err), "broke the protocol");
	error_clear(&err);
	/* The session is lost, and made again. */
	CHECK_FAILS(run(client, "garbage", no_ends, &result, &err), err, ERR_STATE);
	CHECK_OK(client_wait_ready(client, soon(), &err), err);
	CHECK_OK(run(client, "status 5", no_ends, &result, &err), err);
	CHECK_INT(exec_result_status(&result), 5);
	stop_good(steal(&client));
}

/* A raw connection that asks for floods, grants credit, and never reads. */
static int open_glutton(unsigned streams)
{
	struct sockaddr_un address = { .sun_family = AF_UNIX };
	WireHello hello = { .version = WIRE_VERSION, .step = WIRE_STEP_REQUEST, .session = 1 };
	uint8_t bytes[256], grant[4];
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

	memcpy(address.sun_path, plan.keeper_socket, strlen(plan.keeper_socket));
	CHECK(connect(fd, (const struct sockaddr *)&address, sizeof(address)) == 0);
	CHECK(write(fd, bytes, wire_pack_hello(bytes, &hello)) > 0);
	wire_set_u32(grant, WIRE_WINDOW_MAX - WIRE_WINDOW);
	for (uint32_t id = 1; id <= streams; id++) {
		WireFrame more = { .type = WIRE_WINDOW_ADD,
				   .stream = id,
				   .length = sizeof(grant),
				   .payload = grant };
		WireWriter writer;

		wire_writer_begin(&writer, bytes, sizeof(bytes), WIRE_OPEN, id);
		wire_put_u8(&writer, WIRE_TAG_SERVICE, WIRE_SERVICE_EXEC);
		wire_put_text(&writer, WIRE_TAG_ARG, "flood");
		CHECK(write(fd, bytes, wire_writer_finish(&writer)) > 0);
		CHECK(write(fd, bytes, wire_pack(bytes, sizeof(bytes), &more)) > 0);
	}
	return fd;
}

static void test_slow_clients(void)
{
	auto_client client = start_good();
	auto_error err = NULL;
	int gluttons[4];
	char byte;

	for (size_t i = 0; i < ARRAY_SIZE(gluttons); i++)
		gluttons[i] = open_glutton(2);
	for (int i = 0; i < 50; i++) {
		auto_agent_info AgentInfo info = { 0 };

		CHECK_OK(client_ping(client, soon(), &info, &err), err);
	}
	/* One that wants more than the keeper holds for a client is dropped, and nobody else. */
	int greedy = open_glutton(16);
	struct pollfd event = { .fd = greedy, .events = POLLRDHUP };
	CHECK_INT(poll(&event, 1, PATIENCE_MS), 1);
	CHECK_INT(recv(gluttons[0], &byte, 1, MSG_PEEK), 1);
	close_fd(&greedy);
	for (size_t i = 0; i < ARRAY_SIZE(gluttons); i++)
		close_fd(&gluttons[i]);
	stop_good(steal(&client));
}

static void test_bad_clients(void)
{
	static const char *const bad[] = { "GET / HTTP/1.1\r\n\r\n", "" };
	auto_client client = start_good();
	auto_error err = NULL;
	auto_agent_info AgentInfo info = { 0 };
	struct sockaddr_un address = { .sun_family = AF_UNIX };

	memcpy(address.sun_path, plan.keeper_socket, strlen(plan.keeper_socket));
	for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
		int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

		CHECK(connect(fd, (const struct sockaddr *)&address, sizeof(address)) == 0);
		(void)!write(fd, bad[i], strlen(bad[i]));
		close_fd(&fd);
	}
	CHECK_OK(client_ping(client, soon(), &info, &err), err);
	stop_good(steal(&client));
}

static void test_version(void)
{
	struct sockaddr_un address = { .sun_family = AF_UNIX };
	WireHello hello = { .version = 99, .step = WIRE_STEP_REQUEST, .session = 1 };
	uint8_t bytes[64];
	auto_client client = start_good();
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

	memcpy(address.sun_path, plan.keeper_socket, strlen(plan.keeper_socket));
	CHECK(connect(fd, (const struct sockaddr *)&address, sizeof(address)) == 0);
	CHECK(write(fd, bytes, wire_pack_hello(bytes, &hello)) > 0);
	/* It says its own version, and hangs up. */
	CHECK_INT(recv(fd, bytes, sizeof(bytes), MSG_WAITALL), WIRE_HEADER_SIZE + WIRE_HELLO_SIZE);
	CHECK_INT(wire_get_u32(bytes + WIRE_HELLO_PREFIX_SIZE), WIRE_VERSION);
	close_fd(&fd);
	stop_good(steal(&client));
}

/* A keeper that has more connections to accept than its queue takes. */
static void test_busy_keeper(void)
{
	auto_free char *path = path_join(top, "busy.sock");
	struct sockaddr_un address = { .sun_family = AF_UNIX };
	auto_fd listener = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	auto_fd waiting = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	auto_client client = NULL;
	auto_error err = NULL;
	pid_t child;

	memcpy(address.sun_path, path, strlen(path));
	CHECK(bind(listener, (const struct sockaddr *)&address, sizeof(address)) == 0);
	CHECK(listen(listener, 0) == 0);
	CHECK(connect(waiting, (const struct sockaddr *)&address, sizeof(address)) == 0);
	CHECK_FAILS(client_open(path, deadline_in_ms(50), &client, &err), err, ERR_TIMEOUT);
	child = fork();
	if (child == 0) {
		(void)poll(NULL, 0, 100);
		_exit(accept(listener, NULL, NULL) < 0);
	}
	CHECK_OK(client_open(path, soon(), &client, &err), err);
	CHECK_INT(waitpid(child, NULL, 0), child);
}

/* The guest writes on its console without end. */
static void test_console(void)
{
	enum { MUCH = 17 << 20 };
	auto_client client = start_good();
	auto_free char *path = path_join(plan.vm_dir, "console.log");
	auto_free char *text = xmalloc(MUCH);
	auto_free char *kept = NULL;
	size_t len;
	auto_error err = NULL;
	int fd = open(path, O_WRONLY | O_APPEND | O_CLOEXEC);

	for (size_t i = 0; i < MUCH; i++)
		text[i] = i % 64 == 63 ? '\n' : 'x';
	CHECK_OK(fs_write_all(fd, text, MUCH, &err), err);
	close_fd(&fd);
	stop_good(steal(&client));
	CHECK_OK(fs_read(path, MUCH, &kept, &len, &err), err);
	CHECK(len > 1000000 && len < 1100000);
	CHECK(str_starts_with(kept, "[ember: earlier output was dropped]\nxxx"));
	CHECK_INT(len % 64, 36);
}

static void test_busy_record(void)
{
	auto_client client = start_good();
	auto_vm Vm vm = { 0 };
	auto_error err = NULL;
	auto_fd lock = -1;

	/* Whoever holds the operation lock writes the record. */
	CHECK_OK(store_lock_op(&store, "vm", "web", &lock, &err), err);
	CHECK_OK(client_stop(client, 5000, NULL, &err), err);
	CHECK(!fs_exists(plan.run_dir));
	CHECK_INT(proc_wait_gone(&ids.keeper, soon(), &err), 1);
	CHECK_OK(records_read_vm(&store, "web", &vm, &err), err);
	CHECK_STR(vm_state_name(vm.state), "starting");
}

/* Somebody took the directory of a keeper away, and a successor made it again. */
static void test_successor(void)
{
	auto_client client = start_good();
	auto_free char *aside = path_join(top, "aside");
	auto_strv Strv left = { 0 };
	auto_free char *lock = path_join(plan.run_dir, "keeper.lock");
	auto_error err = NULL;

	CHECK_OK(fs_rename(plan.run_dir, aside, &err), err);
	CHECK_OK(fs_mkdir(plan.run_dir, 0700, &err), err);
	CHECK_OK(fs_write_new(lock, "", 0, 0600, &err), err);
	CHECK_OK(fs_write_new(plan.keeper_socket, "", 0, 0600, &err), err);
	CHECK_OK(client_stop(client, 5000, NULL, &err), err);
	CHECK(fs_exists(lock) && fs_exists(plan.keeper_socket));
	CHECK_OK(fs_list(aside, &left, &err), err);
	CHECK_INT(left.count, 0);
	CHECK_OK(fs_remove_tree(aside, &err), err);
}

static void test_clean_up(void)
{
	auto_error err = NULL;

	forget_former();
	CHECK_OK(fs_remove_tree(top, &err), err);
}

static int set_up(void)
{
	auto_free char *dir = NULL;

	(void)signal(SIGPIPE, SIG_IGN);
	if (!mkdtemp(top))
		return -1;
	dir = path_join(top, "state");
	return fs_mkdir(dir, 0700, NULL) < 0 || store_open(dir, &store, NULL) < 0 ||
			       store_make_dirs(&store, NULL) < 0
		       ? -1
		       : 0;
}

int main(void)
{
	static const Test tests[] = {
		{ "start, status, ping, stop", test_life },
		{ "pause and resume", test_pause },
		{ "a larger disk", test_disk_resize },
		{ "a disk with an overlay", test_disk_switch },
		{ "a trim that takes its time", test_trim },
		{ "a hold ends with its client", test_hold },
		{ "a hold ends by itself", test_hold_ends_by_itself },
		{ "a disk that has no room", test_full_disk },
		{ "a hypervisor that cannot start", test_failed_start },
		{ "a hypervisor that never answers", test_silent_start },
		{ "the command that starts it dies", test_starter_dies },
		{ "a hypervisor that crashes", test_crash },
		{ "the stop ladder", test_ladder },
		{ "kill", test_kill },
		{ "adoption", test_adoption },
		{ "adoption of a process that is another", test_adoption_of_nobody },
		{ "exec: output and statuses", test_exec },
		{ "exec: much input", test_exec_stdin },
		{ "exec: the reader of stdout leaves", test_reader_leaves },
		{ "a hostile guest", test_hostile_guest },
		{ "clients that do not read", test_slow_clients },
		{ "clients that speak something else", test_bad_clients },
		{ "a client of another version", test_version },
		{ "a keeper that is busy", test_busy_keeper },
		{ "a console that is flooded", test_console },
		{ "a record that somebody holds", test_busy_record },
		{ "a successor's directory", test_successor },
		{ "clean up", test_clean_up },
	};
	int result;

	if (set_up() < 0)
		return EXIT_FAILURE;
	result = test_main(tests, ARRAY_SIZE(tests));
	launch_plan_release(&plan);
	free(plan_path);
	store_release(&store);
	return result;
}
