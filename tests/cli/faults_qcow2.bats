# Failure injection where copies are layers; faults.bash says how it goes.
load faults
load qcow2

setup_file() {
	new_qcow2_state "$EMBER_TEST_CACHE/faults-qcow2" >/dev/null
	ember vm create bystander --image busybox "${SMALL[@]}" --no-start
	field bystander . | jq -S . >"$BATS_FILE_TMPDIR/bystander"
	export REACHED=$BATS_FILE_TMPDIR/reached
	: >"$REACHED"
	# A disk that was written to, whose plug was pulled.
	ember vm create torn --image busybox "${SMALL[@]}" --disk-size 512M --wait
	ember exec torn -- sh -c 'echo torn >/root/torn; sync'
	ember vm stop --force torn
	until_true 10 no_optimizer
}

teardown_file() {
	drop_state
}

teardown() {
	assert_good_files
}


# Only a disk that was written to becomes a layer.
have_written() {
	ember vm inspect subject >/dev/null 2>&1 || ember vm fork torn subject --no-start >/dev/null
	qemu-io -f qcow2 -c "write -P 7 400M 64k" "$(field subject .disk_path)" >/dev/null
}

no_written() {
	no_fork
	no_subject
}

@test "vm fork of a disk that was written to" {
	ONLY='storage' with_faults have_written no_written ember vm fork subject forked --no-start
}

no_image() {
	ember image delete made >/dev/null 2>&1 || true
}

@test "vm commit of one whose plug was pulled" {
	ONLY='^(storage|disk)' with_faults nothing no_image ember vm commit torn made
}

no_file() {
	rm -f "$BATS_FILE_TMPDIR/torn.raw"
}

@test "vm export" {
	ONLY='^disk' with_faults nothing no_file ember vm export torn "$BATS_FILE_TMPDIR/torn.raw"
}

have_live() {
	ember vm inspect subject >/dev/null 2>&1 || ember vm fork torn subject --no-start >/dev/null
	[ "$(status_of subject)" = running ] || ember vm start subject >/dev/null
	ember exec --wait 60 subject -- sh -c 'echo more >>/root/more; sync'
}

# It never loses its disk.
no_live() {
	if ember vm stop --force subject >/dev/null 2>&1; then
		until_true 10 no_optimizer
		ember vm start subject >/dev/null
		ember exec --wait 60 subject -- grep -q torn /root/torn || complain "the guest lost what it wrote"
		ember vm stop --force subject >/dev/null
		until_true 10 no_optimizer
	fi
	no_subject
}

@test "snapshot create of a running VM" {
	ONLY='^storage\.(qcow2|clone\.sync)' with_faults have_live no_live ember snapshot create subject shot
}

keeper_of() {
	pgrep -f "ember-keeper.*$EMBER_STATE_DIR/vms/$1/"
}

end_keeper() {
	local keeper

	keeper=$(keeper_of subject) || return 0
	kill -9 "$keeper"
	tail --pid "$keeper" -f /dev/null
}

# The next command gives it a keeper, which has the fault.
have_adopted() {
	have_live
	ember exec subject -- sh -c 'echo "more $$" >/root/last; md5sum /root/last >/root/sum; sync'
	end_keeper
}

# The VM goes on, and so does its disk; a snapshot is whole or absent, and what is made of it starts beside the VM.
no_adopted() {
	keeper_of subject >/dev/null || complain "nobody looks after the VM"
	end_keeper
	ember exec --wait 30 subject -- md5sum -c /root/sum >/dev/null || complain "the guest lost what it wrote"
	ember snapshot delete subject shot >/dev/null 2>&1 || [ "$TOLD_STATUS" -ne 0 ] || complain "no snapshot"
	if ! ember snapshot create subject again >/dev/null || ! ember vm fork subject@again forked >/dev/null ||
		! ember exec --wait 60 forked -- md5sum -c /root/sum >/dev/null; then
		complain "a snapshot that was taken then does not start"
	fi
	no_fork
	ember snapshot delete subject again >/dev/null 2>&1 || true
	no_live
}

@test "the keeper's part of a snapshot" {
	ONLY='^keeper\.disk' with_faults have_adopted no_adopted ember snapshot create subject shot
}

# What follows is not to find the fault again.
resize_subject() {
	local status=0

	ember vm resize subject --disk-size 1G || status=$?
	end_keeper
	return "$status"
}

no_resized() {
	ember exec --wait 30 subject -- md5sum -c /root/sum >/dev/null || complain "the guest lost what it wrote"
	no_live
}

@test "the keeper's part of a resize" {
	ONLY='^keeper\.disk' with_faults have_adopted no_resized resize_subject
}

have_deep() {
	local n

	ember vm inspect subject >/dev/null 2>&1 || ember vm fork torn subject --no-start >/dev/null
	for n in 1 2 3 4 5; do
		ember vm inspect "deep$n" >/dev/null 2>&1 && continue
		qemu-io -f qcow2 -c "write -P $n ${n}0M 64k" "$(field subject .disk_path)" >/dev/null
		ember vm fork subject "deep$n" --no-start >/dev/null
	done
}

no_deep() {
	ember vm delete --force subject deep1 deep2 deep3 deep4 deep5 >/dev/null 2>&1 || true
}

@test "storage optimize" {
	with_faults have_deep no_deep ember storage optimize subject
}

@test "vm resize and vm delete" {
	ONLY='^storage' with_faults have_written no_written ember vm resize subject --disk-size 1G
	ONLY='^(storage|destroy)' with_faults have_written no_written ember vm delete subject
}

@test "every step of layers was reached" {
	local unreached

	unreached=$(comm -23 <(steps_in_sources | grep -E "$QCOW2_STEPS") <(sort -u "$REACHED"))
	equal "$unreached" ""
}
