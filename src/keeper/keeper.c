#include "keeper/keeper.h"

#include <fcntl.h>
#include <string.h>

#include "keeper/channel.h"
#include "keeper/claim.h"
#include "keeper/console.h"
#include "keeper/control.h"
#include "keeper/ending.h"
#include "keeper/log.h"
#include "keeper/loop.h"
#include "keeper/machine.h"
#include "keeper/ready.h"
#include "keeper/relay.h"
#include "state/store.h"
#include "util/failpoint.h"
#include "util/fs.h"
#include "util/mem.h"

/* The hypervisor must answer within this; a loaded host under emulation needs seconds. */
#define START_PATIENCE_MS 25000
/* A former keeper that is leaving needs as long as an fsync takes. */
#define CLAIM_PATIENCE_MS	5000
#define CLAIM_ADOPT_PATIENCE_MS 500
#define FAREWELL_MS		1000
#define LOG_TAIL_BYTES		2048

typedef struct Keeper {
	const LaunchPlan *plan;
	const ProcId *adopt; /* NULL: the hypervisor is our child */
	Loop loop;
	Machine machine;
	Channel channel;
	Relay relay;
	Control control;
	Console console;
	Claim claim;
	int ready_fd; /* -1: answered */
	Source ready_source;
	Timer start_timer;
	Error *failure; /* why it was never ready */
} Keeper;

/* The start has failed; the first reason counts. Takes the error. */
static void fail(Keeper *keeper, Error *why)
{
	if (keeper->failure)
		error_free(why);
	else
		keeper->failure = why;
	keeper->loop.is_over = true;
}

static void on_start_timeout(void *arg)
{
	Error *err = NULL;

	error_set(&err, ERR_TIMEOUT, "the hypervisor did not answer in %d s",
		  START_PATIENCE_MS / 1000);
	fail(arg, err);
}

/* Whoever started us has died (or given up) and will never record this VM. An adopted one is
 * recorded already. */
static void on_ready_closed(void *arg, short revents)
{
	Keeper *keeper = arg;
	Error *err = NULL;

	(void)revents;
	loop_remove(&keeper->loop, &keeper->ready_source);
	if (keeper->adopt)
		return;
	error_set(&err, ERR_CANCELED, "the command that started the vm has gone");
	fail(keeper, err);
}

/* The hypervisor answers: so do we. */
static void become_ready(Keeper *keeper)
{
	Error *err = NULL;

	loop_drop_timer(&keeper->loop, &keeper->start_timer);
	loop_remove(&keeper->loop, &keeper->ready_source);
	if (failpoint("keeper.ready", &err) < 0 ||
	    (ready_say_done(keeper->ready_fd, &err) < 0 && !keeper->adopt)) {
		fail(keeper, err);
		return;
	}
	error_clear(&err);
	close_fd(&keeper->ready_fd);
}

/* For those who look at VMs without asking each keeper. On a full host nothing can be written but to memory, which is where
 * run directories are. */
static void mark_stuck(const Keeper *keeper)
{
	auto_free char *mark = store_stuck_mark(keeper->plan->run_dir);
	auto_fd fd = -1;

	if (keeper->machine.state != MACHINE_STUCK)
		(void)fs_remove(mark, NULL);
	else
		fd = open(mark, O_WRONLY | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
}

static void on_machine_changed(void *arg)
{
	Keeper *keeper = arg;
	const Machine *machine = &keeper->machine;
	bool is_gone = machine->state == MACHINE_GONE;

	mark_stuck(keeper);
	/* Those who wait for the end are answered when its traces are gone. */
	if (is_gone || (keeper->ready_fd >= 0 && machine->driver_failure)) {
		keeper->loop.is_over = true;
		return;
	}
	if (keeper->ready_fd >= 0 && machine->state != MACHINE_STARTING)
		become_ready(keeper);
	control_changed(&keeper->control);
}

static void on_machine_refused(void *arg, DriverRequest request, const char *why)
{
	Keeper *keeper = arg;

	control_refused(&keeper->control, request, why);
}

static void on_machine_done(void *arg, DriverRequest request)
{
	Keeper *keeper = arg;

	control_done(&keeper->control, request);
}

static void on_poweroff_answer(void *arg, bool is_ok)
{
	Keeper *keeper = arg;

	if (!is_ok)
		machine_agent_refused(&keeper->machine);
}

static bool on_ask_guest(void *arg)
{
	Keeper *keeper = arg;

	return relay_request(&keeper->relay, WIRE_SERVICE_POWEROFF, on_poweroff_answer, keeper);
}

static const MachineOwner machine_owner = {
	.changed = on_machine_changed,
	.refused = on_machine_refused,
	.done = on_machine_done,
	.ask_guest = on_ask_guest,
};

static void on_channel_ready(void *arg)
{
	Keeper *keeper = arg;

	control_changed(&keeper->control);
	machine_agent_ready(&keeper->machine);
}

static void on_channel_lost(void *arg)
{
	Keeper *keeper = arg;

	relay_reset_all(&keeper->relay);
}

static void on_channel_frame(void *arg, const WireFrame *frame)
{
	Keeper *keeper = arg;

	relay_from_guest(&keeper->relay, frame);
}

static const ChannelOwner channel_owner = {
	.ready = on_channel_ready,
	.lost = on_channel_lost,
	.frame = on_channel_frame,
};

static void after_round(void *arg)
{
	Keeper *keeper = arg;

	channel_tend(&keeper->channel);
	control_tend(&keeper->control);
}

static int open_parts(Keeper *keeper, Error **err)
{
	const LaunchPlan *plan = keeper->plan;
	Loop *loop = &keeper->loop;
	Deadline claim_until =
		deadline_in_ms(keeper->adopt ? CLAIM_ADOPT_PATIENCE_MS : CLAIM_PATIENCE_MS);

	if (failpoint("keeper.claim", err) < 0 ||
	    claim_take(plan, claim_until, &keeper->claim, err) < 0 ||
	    failpoint("keeper.listen", err) < 0 ||
	    console_open(&keeper->console, loop, plan->vm_dir, !keeper->adopt, err) < 0 ||
	    control_open(&keeper->control, loop, plan->keeper_socket, &keeper->machine,
			 &keeper->channel, &keeper->relay, err) < 0 ||
	    machine_open(&keeper->machine, loop, plan, keeper->adopt, &machine_owner, keeper, err) <
		    0 ||
	    ready_say_hypervisor(keeper->ready_fd, &keeper->machine.child.id, err) < 0 ||
	    machine_connect(&keeper->machine, err) < 0 || failpoint("keeper.agent", err) < 0 ||
	    channel_open(&keeper->channel, loop, plan->agent_socket, keeper->adopt != NULL,
			 &channel_owner, keeper, err) < 0)
		return -1;
	return 0;
}

static int start(Keeper *keeper, Error **err)
{
	auto_free char *report = path_join(keeper->plan->vm_dir, "exit.json");

	/* What the last run left must not be taken for this one's. */
	if (!keeper->adopt && fs_remove(report, err) < 0)
		return -1;
	if (open_parts(keeper, err) < 0)
		return -1;
	keeper->ready_source = (Source){
		.fd = keeper->ready_fd,
		.ready = on_ready_closed,
		.arg = keeper,
	};
	loop_add(&keeper->loop, &keeper->ready_source);
	keeper->start_timer = (Timer){ .fired = on_start_timeout, .arg = keeper };
	loop_set_timer(&keeper->loop, &keeper->start_timer, deadline_in_ms(START_PATIENCE_MS));
	return loop_run(&keeper->loop, err);
}

/* It ended, or closed its monitor, before it was ready; by now it is reaped. */
static void explain_end(Keeper *keeper)
{
	const Machine *machine = &keeper->machine;
	Error **err = &keeper->failure;
	bool is_alive = machine->state != MACHINE_GONE; /* an adopted one */

	if (machine->driver_failure && (is_alive || machine->rung == STOP_KILL))
		error_set(err, ERR_FAILED, "%s", machine->driver_failure);
	else if (keeper->adopt)
		error_set(err, ERR_NOT_FOUND, "the hypervisor has just ended");
	else if (machine->exit_status > 128)
		error_set(err, ERR_FAILED, "the hypervisor was killed by signal %d",
			  machine->exit_status - 128);
	else
		error_set(err, ERR_FAILED, "the hypervisor ended at once, with status %d",
			  machine->exit_status);
}

/* What the hypervisor said last explains most failures. */
static void add_log_tail(const LaunchPlan *plan, Error **err)
{
	auto_free char *path = path_join(plan->vm_dir, "hypervisor.log");
	auto_free char *text = NULL;
	size_t len = 0;

	if (fs_read(path, 1U << 20, &text, &len, NULL) == 0)
		(void)error_detail(err, len > LOG_TAIL_BYTES ? text + len - LOG_TAIL_BYTES : text);
}

/* The loop is over, or never began. The process's exit status. */
static int finish(Keeper *keeper)
{
	Machine *machine = &keeper->machine;
	bool is_answered = keeper->ready_fd < 0;

	if (!is_answered)
		machine_destroy(machine);
	if (!is_answered && !keeper->failure)
		explain_end(keeper);
	control_stop_listening(&keeper->control);
	if (machine->state == MACHINE_GONE)
		ending_write(keeper->plan, &machine->child.id, machine_exit_reason(machine),
			     machine->exit_status, &keeper->claim);
	else if (!keeper->adopt)
		claim_drop(keeper->plan, &keeper->claim);
	control_changed(&keeper->control);
	control_close(&keeper->control, deadline_in_ms(FAREWELL_MS));
	if (!is_answered && !keeper->adopt)
		add_log_tail(keeper->plan, &keeper->failure);
	if (!is_answered)
		ready_say_error(keeper->ready_fd, keeper->failure);
	close_fd(&keeper->ready_fd);
	if (!keeper->failure)
		return EXIT_SUCCESS;
	log_error(&keeper->failure, is_answered ? "the keeper fails" : "the start failed");
	return EXIT_FAILURE;
}

int keeper_run(const LaunchPlan *plan, const ProcId *adopt, int ready_fd)
{
	auto_free Keeper *keeper = xcalloc(1, sizeof(*keeper)); /* its buffers stay untouched */
	Error *err = NULL;
	int status;

	keeper->plan = plan;
	keeper->adopt = adopt;
	keeper->claim = CLAIM_NONE;
	keeper->ready_fd = ready_fd;
	keeper->loop.after = after_round;
	keeper->loop.after_arg = keeper;
	keeper->relay.channel = &keeper->channel;
	keeper->channel.loop = &keeper->loop;
	keeper->channel.link.source.fd = -1;
	keeper->control.loop = &keeper->loop;
	keeper->control.listener.fd = -1;
	keeper->console.fd = -1;
	keeper->machine.child.fd = -1;
	if (start(keeper, &err) < 0)
		fail(keeper, err);
	status = finish(keeper);
	console_check(&keeper->console);
	console_close(&keeper->console);
	channel_close(&keeper->channel);
	machine_release(&keeper->machine);
	loop_release(&keeper->loop);
	claim_release(&keeper->claim);
	return status;
}
