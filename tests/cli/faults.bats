# Failure injection: every named step of every changing command is made to fail, and then to die.
#
# The steps of a command are learnt by running it once (EMBER_STEPS_TO); the names are also looked up
# in the sources, so that a step which no test reaches is a failure itself. After each fault: nothing
# leaked, no record lost or half-written, the other VM untouched, reconcile ends clean, and the same
# command then succeeds.
load lib

setup_file() {
	new_state
	command -v jq >/dev/null
	ember vm create bystander --image busybox "${SMALL[@]}" --no-start
	field bystander . | jq -S . >"$BATS_FILE_TMPDIR/bystander"
	export REACHED=$BATS_FILE_TMPDIR/reached
	: >"$REACHED"
	make_fake_mmdebstrap
}

teardown_file() {
	drop_state
}

# The real one is tested in image.bats; here its part is played in no time.
make_fake_mmdebstrap() {
	local bin=$BATS_FILE_TMPDIR/bin

	mkdir -p "$bin"
	cat >"$bin/mmdebstrap" <<-'FAKE'
		#!/bin/bash
		# The target is the last argument but one, or the one that ends in .tar; else stdout.
		target=-
		for word in "$@"; do
			case $word in -*) ;; *.tar) target=$word ;; esac
		done
		layer=$(find "$OCI/busybox/blobs/sha256" -size +100k | head -n 1)
		if [ "$target" = - ]; then gzip -dc "$layer"; else gzip -dc "$layer" >"$target"; fi
	FAKE
	chmod +x "$bin/mmdebstrap"
}

steps_in_sources() {
	grep -rhoP --include='*.c' 'failpoint\("\K[^"]+' "$CLI_DIR/../../src" | sort -u
}

resources() {
	losetup -a 2>/dev/null | grep -c "$EMBER_TEST_CACHE" || true
	grep -c "$EMBER_TEST_CACHE" /proc/self/mounts || true
}

hypervisors() {
	processes | xargs -r ps -o comm= -p | grep -c '^qemu' || true
}

# complain WHAT: note it and go on, so that one run shows every step that is wrong.
complain() {
	printf '%s at %s, %s: %s\n' "$TOLD_COMMAND" "$TOLD_STEP" "$TOLD_MODE" "$1" >>"$BATS_TEST_TMPDIR/complaints"
}

check_world() {
	local running output

	if ! output=$(ember reconcile 2>&1); then
		complain "reconcile failed: $output"
	fi
	output=$(ember reconcile --dry-run --format json 2>&1)
	[ "$(jq -c '.actions // .' <<<"$output" 2>/dev/null)" = '[]' ] ||
		complain "reconcile did not end clean: $output"
	output=$(assert_no_leftovers 2>&1) || complain "$output"
	[ "$(resources)" = "$RESOURCES" ] || complain "loop devices or mounts: $(resources)"
	running=$(ember vm list --format json | jq '[.[] | select(.status == "running")] | length')
	until_true 5 test_hypervisors "$running" 2>/dev/null ||
		complain "$(hypervisors) hypervisors for $running running VMs"
	field bystander . | jq -S . | cmp -s - "$BATS_FILE_TMPDIR/bystander" || complain "the bystander changed"
}

test_hypervisors() {
	[ "$(hypervisors)" = "$1" ]
}

# with_faults PREPARE UNDO COMMAND...: PREPARE makes what the command needs, UNDO takes away what it
# and the command made; both must stand any outcome.
with_faults() {
	local prepare=$1 undo=$2 steps step mode status

	shift 2
	TOLD_COMMAND=$*
	RESOURCES=$(resources)
	$prepare
	rm -f "$BATS_TEST_TMPDIR/steps"
	EMBER_STEPS_TO=$BATS_TEST_TMPDIR/steps "$@"
	$undo
	steps=$(sort -u "$BATS_TEST_TMPDIR/steps")
	[ -n "$steps" ]
	cat "$BATS_TEST_TMPDIR/steps" >>"$REACHED"
	: >"$BATS_TEST_TMPDIR/complaints"
	for step in $steps; do
		for mode in FAIL KILL; do
			TOLD_STEP=$step TOLD_MODE=$mode
			$prepare
			status=0
			env_name=EMBER_${mode}_AT
			(
				export "$env_name=$step"
				"$@"
			) >"$BATS_TEST_TMPDIR/out" 2>"$BATS_TEST_TMPDIR/err" || status=$?
			if [ "$mode" = FAIL ] && [ "$status" -ne 0 ]; then
				grep -q "made to fail at step '$step'" "$BATS_TEST_TMPDIR/err" ||
					complain "the error does not tell its cause: $(cat "$BATS_TEST_TMPDIR/err")"
			fi
			check_world
			$undo
			$prepare
			"$@" >"$BATS_TEST_TMPDIR/out" 2>&1 ||
				complain "then the same command failed: $(cat "$BATS_TEST_TMPDIR/out")"
			$undo
			assert_no_processes 2>>"$BATS_TEST_TMPDIR/complaints" || true
		done
	done
	if [ -s "$BATS_TEST_TMPDIR/complaints" ]; then
		cat "$BATS_TEST_TMPDIR/complaints" >&2
		return 1
	fi
}

nothing() {
	:
}

have_stopped() {
	ember vm inspect subject >/dev/null 2>&1 ||
		ember vm create subject --image busybox "${SMALL[@]}" --no-start >/dev/null
	[ "$(status_of subject)" != running ] || ember vm stop --force subject >/dev/null
}

have_running() {
	have_stopped
	ember vm start subject >/dev/null
}

no_subject() {
	ember vm delete --force subject >/dev/null 2>&1 || true
}

no_fork() {
	ember vm delete --force forked >/dev/null 2>&1 || true
}

leave_subject_stopped() {
	ember vm stop --force subject >/dev/null 2>&1 || true
}

no_image() {
	ember image delete made >/dev/null 2>&1 || true
}

@test "vm create" {
	with_faults nothing no_subject ember vm create subject --image busybox "${SMALL[@]}" --no-start
}

@test "vm fork" {
	with_faults have_stopped no_fork ember vm fork subject forked --no-start
	no_subject
}

@test "vm start" {
	with_faults have_stopped leave_subject_stopped ember vm start subject
	no_subject
}

@test "vm stop" {
	with_faults have_running leave_subject_stopped ember vm stop subject --timeout 5
	no_subject
}

@test "vm stop --force" {
	with_faults have_running leave_subject_stopped ember vm stop subject --force
	no_subject
}

@test "vm delete" {
	with_faults have_stopped no_subject ember vm delete subject
}

@test "vm delete --force of a running VM" {
	with_faults have_running no_subject ember vm delete subject --force
}

@test "image pull" {
	with_faults nothing no_image ember image pull "oci:$OCI/busybox:latest" --name made
}

@test "image build" {
	PATH=$BATS_FILE_TMPDIR/bin:$PATH
	with_faults nothing no_image ember image build made
}

@test "image delete" {
	have_image() {
		ember image pull "oci:$OCI/busybox:latest" --name made >/dev/null
	}
	with_faults have_image no_image ember image delete made
}

@test "cp out of a guest" {
	with_faults have_running no_subject ember cp subject:/etc/passwd "$BATS_TEST_TMPDIR/passwd"
	# Nothing beside the file: no half-made copy under another name.
	equal "$(find "$BATS_TEST_TMPDIR" -name '*passwd*' | wc -l)" 1
}

@test "reconcile after both processes of a VM were killed" {
	have_dead() {
		local pids

		have_running
		pids=$(processes)
		# shellcheck disable=SC2086 # one pid a word
		kill -9 $pids
		until_true 5 assert_no_processes 2>/dev/null
	}
	with_faults have_dead no_subject ember reconcile
}

@test "init and deinit of a managed store" {
	[ "$(id -u)" -eq 0 ] || skip "mounting needs root"
	local -x EMBER_STATE_DIR=$EMBER_TEST_CACHE/tmp/faults-managed
	local steps step mode

	mkdir -p "$EMBER_STATE_DIR"
	EMBER_STEPS_TO=$REACHED ember init --storage btrfs --size 2G
	EMBER_STEPS_TO=$REACHED ember deinit --purge
	steps=$(steps_in_sources | grep -E '^(init|deinit|storage|store|managed)\.')
	for step in $steps; do
		for mode in FAIL KILL; do
			export "EMBER_${mode}_AT=$step"
			ember init --storage btrfs --size 2G || true
			ember deinit --purge || true
			unset "EMBER_${mode}_AT"
			ember deinit --purge
			ember init --storage btrfs --size 2G
			ember deinit --purge
			run grep -c "$EMBER_STATE_DIR" /proc/self/mounts
			equal "$output" 0
			equal "$(losetup -a | grep -c "$EMBER_STATE_DIR")" 0
		done
	done
	rm -rf "$EMBER_STATE_DIR"
}

@test "every step in the sources was reached" {
	local unreached

	unreached=$(comm -23 <(steps_in_sources) <(sort -u "$REACHED"))
	equal "$unreached" ""
}
