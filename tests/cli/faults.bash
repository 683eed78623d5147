# Failure injection: every named step of a changing command is made to fail, and then to die.
#
# The steps of a command are learnt by running it once (EMBER_STEPS_TO); the names are also looked up
# in the sources, so that a step which no test reaches is a failure itself. After each fault: nothing
# leaked, no record lost or half-written, the other VM untouched, reconcile ends clean, and the same
# command then succeeds.
load lib

setup_faults() {
	new_state
	command -v jq >/dev/null
	ember vm create bystander --image busybox "${SMALL[@]}" --no-start
	field bystander . | jq -S . >"$BATS_FILE_TMPDIR/bystander"
	export REACHED=$BATS_FILE_TMPDIR/reached
	: >"$REACHED"
}

# Steps of images and kernels are for faults_image.bats, of their ways in and out for faults_move.bats, of what is done
# to a VM's disk and name once it is there for faults_storage.bats, of ZFS for zfs.bats, of qcow2 for
# faults_qcow2.bats, of dm-thin for dm_thin.bats, all others for faults.bats.
export MOVE_STEPS='^(image\.(export|import|oci|out|push|rest)|vm\.commit|storage\.seal\.volume)(\.|$)'
export STORAGE_STEPS='^(snapshot|vm\.(rename|resize|update)|storage\.(grow|resize|trim))(\.|$)'
export ZFS_STEPS='^storage\.zfs\.'
export QCOW2_STEPS='^(storage\.qcow2|disk\.plain|keeper\.disk)\.'
export THIN_STEPS='^storage\.thin\.'
# How the command ended, for UNDO.
export TOLD_STATUS=0
export IMAGE_STEPS='^(image|kernel|storage\.seal|vm\.commit)(\.|$)'

# A process that is killed has nothing to tell the sanitizers: there each step only fails.
FAULTS="FAIL KILL"
[ -z "${EMBER_SANITIZED-}" ] || FAULTS=FAIL

steps_in_sources() {
	grep -rhoP --include='*.c' 'failpoint\("\K[^"]+' "$CLI_DIR/../../src" | sort -u
}

# Of this installation: other files run beside this one and attach what is theirs.
resources() {
	losetup -a 2>/dev/null | grep -c "$EMBER_STATE_DIR" || true
	grep -c "$EMBER_STATE_DIR" /proc/self/mounts || true
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
# and the command made; both must stand any outcome, which UNDO finds in TOLD_STATUS (137: killed). ONLY is a pattern for the steps to take. With STAYS
# a VM that PREPARE has started may run on.
with_faults() {
	local prepare=$1 undo=$2 steps step mode status

	shift 2
	TOLD_COMMAND=$*
	RESOURCES=$(resources)
	$prepare
	rm -f "$BATS_TEST_TMPDIR/steps"
	TOLD_STEP=none TOLD_MODE=STEPS TOLD_STATUS=0
	EMBER_STEPS_TO=$BATS_TEST_TMPDIR/steps "$@"
	: >"$BATS_TEST_TMPDIR/complaints"
	$undo
	steps=$(sort -u "$BATS_TEST_TMPDIR/steps" | grep -E "${ONLY-}")
	echo "$steps" >>"$REACHED"
	for step in $steps; do
		for mode in $FAULTS; do
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
			# What has happened is not a failure, whether or not a power cut would undo it.
			case $mode:$step in
			FAIL:change.sync)
				if [ "$status" -ne 0 ] || ! grep -q "it is done" "$BATS_TEST_TMPDIR/err"; then
					complain "status $status, and: $(cat "$BATS_TEST_TMPDIR/err")"
				fi
				;;
			esac
			check_world
			TOLD_STATUS=$status
			$undo
		done
		$prepare
		TOLD_MODE=${mode}ED TOLD_STATUS=0
		"$@" >"$BATS_TEST_TMPDIR/out" 2>&1 ||
			complain "then the same command failed: $(cat "$BATS_TEST_TMPDIR/out")"
		$undo
		[ -n "${STAYS-}" ] || assert_no_processes 2>>"$BATS_TEST_TMPDIR/complaints" || true
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
