#include "keeper/machine.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <string.h>

#include "keeper/log.h"
#include "util/failpoint.h"
#include "util/fs.h"
#include "util/mem.h"
#include "util/str.h"

#define QUIT_PATIENCE_MS  2000
#define DYING_PATIENCE_MS 300
#define STUCK_RETRY_MS	  1000

static void climb(Machine *machine, StopRung rung);

static void set_state(Machine *machine, MachineState state)
{
	if (machine->state == state || machine->state == MACHINE_GONE)
		return;
	machine->state = state;
	log_line("the vm is %s", state == MACHINE_GONE ? "gone" : machine_state_word(machine));
	machine->owner->changed(machine->arg);
}

static void on_driver_ready(void *arg)
{
	set_state(arg, MACHINE_RUNNING);
}

static void on_driver_paused(void *arg, bool is_paused)
{
	Machine *machine = arg;

	/* One that was stuck may be so again in a moment: the next timer believes it. */
	if (machine->state == MACHINE_STUCK && !is_paused) {
		machine->is_tried = true;
		return;
	}
	loop_drop_timer(machine->loop, &machine->retry_timer);
	set_state(machine, is_paused ? MACHINE_PAUSED : MACHINE_RUNNING);
}

static void on_driver_stuck(void *arg)
{
	Machine *machine = arg;

	if (machine->is_pause_wanted) {
		set_state(machine, MACHINE_PAUSED);
		return;
	}
	if (machine->state != MACHINE_STUCK)
		log_line("a write to the vm's disk failed, likely for want of room on the host: "
			 "the vm stands still until it succeeds");
	machine->is_tried = false;
	loop_set_timer(machine->loop, &machine->retry_timer, deadline_in_ms(STUCK_RETRY_MS));
	set_state(machine, MACHINE_STUCK);
}

static void on_retry_timer(void *arg)
{
	Machine *machine = arg;

	if (machine->is_tried) {
		set_state(machine, MACHINE_RUNNING);
		return;
	}
	(void)machine_request(machine, DRIVER_RESUME);
	loop_set_timer(machine->loop, &machine->retry_timer, deadline_in_ms(STUCK_RETRY_MS));
}

static void on_driver_shutdown(void *arg, const char *cause)
{
	Machine *machine = arg;

	/* The first cause is the cause: a panic is followed by its consequences. */
	if (machine->shutdown_cause)
		return;
	log_line("the hypervisor shuts down: %s", cause);
	machine->shutdown_cause = xstrdup(cause);
}

static void on_driver_refused(void *arg, DriverRequest request, const char *why)
{
	Machine *machine = arg;

	log_line("the hypervisor refused request %d: %s", (int)request, why);
	if (request == DRIVER_PAUSE)
		machine->is_pause_wanted = false;
	machine->owner->refused(machine->arg, request, why);
	if (request == DRIVER_POWER_BUTTON && machine->rung == STOP_POWER_BUTTON)
		climb(machine, STOP_QUIT);
	else if (request == DRIVER_QUIT && machine->rung == STOP_QUIT)
		climb(machine, STOP_KILL);
}

static void on_driver_done(void *arg, DriverRequest request)
{
	Machine *machine = arg;

	machine->owner->done(machine->arg, request);
}

static void on_driver_lost(void *arg, Error *why)
{
	Machine *machine = arg;

	/* When the process has ended this is expected, and told a moment before. */
	str_assign(&machine->driver_failure, error_text(why));
	error_free(why);
	machine->owner->changed(machine->arg);
}

static const DriverOwner driver_owner = {
	.ready = on_driver_ready,
	.paused = on_driver_paused,
	.stuck = on_driver_stuck,
	.shutdown = on_driver_shutdown,
	.refused = on_driver_refused,
	.done = on_driver_done,
	.lost = on_driver_lost,
};

static void on_child_end(void *arg, short revents)
{
	Machine *machine = arg;

	(void)revents;
	if (machine->driver_state)
		machine->driver->drain(machine->driver_state);
	loop_remove(machine->loop, &machine->child_source);
	loop_drop_timer(machine->loop, &machine->stop_timer);
	loop_drop_timer(machine->loop, &machine->retry_timer);
	machine->exit_status = child_reap(&machine->child);
	log_line("the hypervisor has ended with status %d", machine->exit_status);
	set_state(machine, MACHINE_GONE);
}

static int spawn_child(Machine *machine, Error **err)
{
	auto_free char *log_path = path_join(machine->plan->vm_dir, "hypervisor.log");
	auto_fd log_fd = open(
		log_path, O_WRONLY | O_CREAT | O_TRUNC | O_APPEND | O_NOFOLLOW | O_CLOEXEC, 0600);

	if (log_fd < 0)
		return error_set_errno(err, errno, "open '%s'", log_path);
	return child_spawn(machine->plan, log_fd, &machine->child, err);
}

static void on_stop_timer(void *arg);

int machine_open(Machine *machine, Loop *loop, const LaunchPlan *plan, const ProcId *adopt,
		 const MachineOwner *owner, void *arg, Error **err)
{
	*machine = (Machine){
		.loop = loop,
		.plan = plan,
		.owner = owner,
		.arg = arg,
		.child = { .fd = -1 },
		.stop_timer = { .fired = on_stop_timer, .arg = machine },
		.retry_timer = { .fired = on_retry_timer, .arg = machine },
		.exit_status = -1,
	};
	machine->driver = driver_find(plan->driver, err);
	if (!machine->driver)
		return -1;
	if ((adopt ? child_adopt(adopt, &machine->child, err) : spawn_child(machine, err)) < 0)
		return -1;
	machine->child_source = (Source){
		.fd = machine->child.fd,
		.events = POLLIN,
		.ready = on_child_end,
		.arg = machine,
	};
	loop_add(loop, &machine->child_source);
	return 0;
}

int machine_connect(Machine *machine, Error **err)
{
	if (failpoint("keeper.monitor", err) < 0)
		return -1;
	machine->driver_state = machine->driver->open(machine->loop, machine->plan->control_socket,
						      &driver_owner, machine, err);
	return machine->driver_state ? 0 : -1;
}

void machine_destroy(Machine *machine)
{
	struct pollfd gone = { .fd = machine->child.fd, .events = POLLIN };

	if (machine->child.fd < 0 || !machine->child.is_ours)
		return;
	/* One that closed its monitor is dying of its own reason, which is better than ours. */
	if (!machine->driver_failure || poll(&gone, 1, DYING_PATIENCE_MS) <= 0) {
		child_signal(&machine->child, SIGKILL);
		machine->rung = STOP_KILL;
	}
	loop_remove(machine->loop, &machine->child_source);
	machine->exit_status = child_reap(&machine->child);
	machine->state = MACHINE_GONE;
}

void machine_release(Machine *machine)
{
	if (machine->driver)
		machine->driver->close(machine->driver_state);
	machine->driver_state = NULL;
	child_release(&machine->child);
	free(steal(&machine->driver_failure));
	free(steal(&machine->shutdown_cause));
}

const char *machine_state_word(const Machine *machine)
{
	if (machine->rung != STOP_NOT)
		return "stopping";
	switch (machine->state) {
	case MACHINE_STARTING:
		return "starting";
	case MACHINE_PAUSED:
	case MACHINE_STUCK:
		return "paused";
	case MACHINE_RUNNING:
	case MACHINE_GONE:
		break;
	}
	return "running";
}

bool machine_request(Machine *machine, DriverRequest request)
{
	if (!machine->driver_state || !machine->driver->request(machine->driver_state, request))
		return false;
	if (request == DRIVER_PAUSE || request == DRIVER_RESUME)
		machine->is_pause_wanted = request == DRIVER_PAUSE;
	return true;
}

bool machine_can_resize_disk(const Machine *machine)
{
	return machine->driver->resize_disk != NULL;
}

bool machine_resize_disk(Machine *machine, uint64_t size_bytes)
{
	log_line("the vm's disk is resized to %llu bytes", (unsigned long long)size_bytes);
	return machine->driver_state &&
	       machine->driver->resize_disk(machine->driver_state, size_bytes);
}

bool machine_can_switch_disk(const Machine *machine)
{
	return machine->driver->switch_disk != NULL;
}

bool machine_switch_disk(Machine *machine, const char *overlay)
{
	log_line("the vm's disk gets an overlay");
	return machine->driver_state &&
	       machine->driver->switch_disk(machine->driver_state, overlay);
}

/* Try one rung; true when it has begun, with the time until the next one. */
static bool try_rung(Machine *machine, StopRung rung, Deadline *out_until)
{
	int64_t left_ms = deadline_poll_ms(machine->stop_until);

	switch (rung) {
	case STOP_NOT:
		break;
	case STOP_AGENT:
		*out_until = deadline_in_ms(left_ms / 2);
		return left_ms > 0 && machine->owner->ask_guest(machine->arg);
	case STOP_POWER_BUTTON:
		*out_until = machine->stop_until;
		return left_ms > 0 && machine_request(machine, DRIVER_POWER_BUTTON);
	case STOP_QUIT:
		*out_until = deadline_in_ms(QUIT_PATIENCE_MS);
		return machine_request(machine, DRIVER_QUIT);
	case STOP_KILL:
		*out_until = DEADLINE_NEVER;
		child_signal(&machine->child, SIGKILL);
		return true;
	}
	return false;
}

/* Go to that rung, or to the first one above that can be tried. */
static void climb(Machine *machine, StopRung rung)
{
	static const char *const names[] = {
		[STOP_AGENT] = "ask the agent",
		[STOP_POWER_BUTTON] = "press the power button",
		[STOP_QUIT] = "tell the hypervisor to quit",
		[STOP_KILL] = "kill the hypervisor",
	};
	Deadline until = DEADLINE_NEVER;

	while (rung < STOP_KILL && !try_rung(machine, rung, &until))
		rung++;
	if (rung == STOP_KILL)
		(void)try_rung(machine, rung, &until);
	log_line("stop: %s", names[rung]);
	machine->rung = rung;
	loop_set_timer(machine->loop, &machine->stop_timer, until);
	machine->owner->changed(machine->arg);
}

static void on_stop_timer(void *arg)
{
	Machine *machine = arg;

	if (machine->rung < STOP_KILL)
		climb(machine, machine->rung + 1);
}

void machine_agent_refused(Machine *machine)
{
	if (machine->rung == STOP_AGENT)
		climb(machine, STOP_POWER_BUTTON);
}

void machine_agent_ready(Machine *machine)
{
	/* It was still booting when it was told to stop, and no button is heard that early. */
	if (machine->rung == STOP_POWER_BUTTON && !deadline_passed(machine->stop_until))
		climb(machine, STOP_AGENT);
}

void machine_stop(Machine *machine, uint32_t timeout_ms)
{
	Deadline until = deadline_in_ms(timeout_ms);

	if (machine->state == MACHINE_GONE)
		return;
	if (machine->rung == STOP_NOT) {
		machine->stop_until = until;
		/* A guest that stands still cannot shut down. */
		if (machine->state == MACHINE_PAUSED || machine->state == MACHINE_STUCK)
			(void)machine_request(machine, DRIVER_RESUME);
		climb(machine, STOP_AGENT);
	} else if (machine->rung < STOP_QUIT && until.at_ns < machine->stop_until.at_ns) {
		machine->stop_until = until;
		loop_set_timer(machine->loop, &machine->stop_timer,
			       deadline_sooner(machine->stop_timer.at, timeout_ms / 2));
	}
}

void machine_kill(Machine *machine)
{
	if (machine->state != MACHINE_GONE)
		climb(machine, STOP_KILL);
}

const char *machine_exit_reason(const Machine *machine)
{
	static const char *const causes[] = { "guest-shutdown", "guest-reset", "guest-panic" };
	const char *cause = machine->shutdown_cause;
	int status = machine->exit_status;

	/* From the quit on, the guest was cut off, unless it was just in time. */
	if (machine->rung >= STOP_QUIT && !str_equal(cause, "guest-shutdown"))
		return "killed";
	if (machine->rung != STOP_NOT)
		return "stopped";
	for (size_t i = 0; cause && i < ARRAY_SIZE(causes); i++)
		if (!strcmp(cause, causes[i]))
			return causes[i];
	/* Somebody else than us: a signal, or another client of the monitor. */
	if (cause || status == 128 + SIGKILL || status == 128 + SIGTERM)
		return cause && !str_starts_with(cause, "host-") ? "unknown" : "killed";
	return status > 0 ? "crashed" : "unknown";
}
