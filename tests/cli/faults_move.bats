# Failure injection in the ways of images in and out; faults.bash says how it goes. What they share with
# `image pull` is tested there.
load faults
load registry

setup_file() {
	export FILES=$BATS_FILE_TMPDIR/files

	setup_faults
	mkdir "$FILES"
	gzip -dc "$(find "$OCI/busybox/blobs/sha256" -size +100k)" >"$FILES/root.tar"
	skopeo copy --quiet "oci:$OCI/busybox:latest" "docker-archive:$FILES/docker.tar:tools/box:1" 3>&-
	# A disk that was not unmounted.
	ember vm create torn --image busybox "${SMALL[@]}" --disk-size 128M --wait
	ember exec torn -- sh -c 'echo torn >/root/torn; sync'
	ember vm stop --force torn
	cp --sparse=always "$(field torn .disk_path)" "$FILES/torn.raw"
	qemu-img convert -c -O qcow2 "$(ember image inspect busybox --format json | jq -r .disk_path)" "$FILES/box.qcow2"
	gzip -k "$FILES/box.qcow2"
	start_registry REGISTRY
}

teardown_file() {
	stop_registries
	drop_state
}

no_image() {
	ember image delete made >/dev/null 2>&1 || true
}

no_file() {
	# Beside it nothing may be left, whatever happened.
	[ "$(ls -A "$FILES/out")" = "" ] || [ "$(ls -A "$FILES/out")" = file ] ||
		complain "beside the file: $(ls -A "$FILES/out")"
	rm -rf "$FILES/out"
}

have_directory() {
	mkdir -p "$FILES/out"
}

@test "image import of a tar" {
	ONLY='^image\.(import|write|record|commit)' with_faults nothing no_image ember image import made "$FILES/root.tar"
}

have_made() {
	ember image inspect made >/dev/null 2>&1 || ember image import made "$FILES/docker.tar" >/dev/null 2>&1
}

@test "image import instead of a former image" {
	ONLY='exchange' with_faults have_made no_image ember image import made "$FILES/root.tar" --replace
}

@test "image import of an archive from a pipe" {
	import_pipe() {
		# shellcheck disable=SC2002 # it shall be a pipe
		cat "$FILES/docker.tar" | ember image import made -
	}
	ONLY='^image\.import' with_faults nothing no_image import_pipe
}

@test "image import of a compressed qcow2" {
	ONLY='^image\.import' with_faults nothing no_image ember image import made "$FILES/box.qcow2.gz"
}

@test "image import of a disk that was not unmounted: it is not written to" {
	local before

	before=$(sha256sum <"$FILES/torn.raw")
	ONLY='^image\.import' with_faults nothing no_image ember image import made "$FILES/torn.raw"
	equal "$(sha256sum <"$FILES/torn.raw")" "$before"
}

@test "image export to an OCI archive" {
	ONLY='^image\.(out|export|oci)' with_faults have_directory no_file ember image export busybox "$FILES/out/file"
}

@test "image export in place of a file: what was there stays until the new one is there" {
	local mode

	have_directory
	echo old >"$FILES/out/file"
	for mode in FAIL KILL; do
		run env "EMBER_${mode}_AT=image.out.replace" "$EMBER" image export busybox "$FILES/out/file" --as raw --force 3>&-
		[ "$status" -ne 0 ]
		equal "$(<"$FILES/out/file")" old
		ember reconcile
	done
	equal "$(ls -A "$FILES/out")" $'file\nfile.ember-new'
	expect 0 ember image export busybox "$FILES/out/file" --as raw --force
	equal "$(ls -A "$FILES/out")" file
	[ "$(stat -c %s "$FILES/out/file")" -gt 100000 ]
	rm -r "$FILES/out"
	echo image.out.replace >>"$REACHED"
}

@test "image push" {
	ONLY='^image\.(oci|push)' with_faults nothing nothing \
		ember image push busybox "$REGISTRY/made/box:1" --tls-verify=false
}

@test "vm export of a VM whose plug was pulled" {
	ONLY='^(image|storage)' with_faults have_directory no_file ember vm export torn "$FILES/out/file" --as raw
	ONLY='^image\.oci' with_faults have_directory no_file ember vm export torn "$FILES/out/file"
}

@test "vm commit of a VM whose plug was pulled" {
	ONLY='^(vm|image|storage)' with_faults nothing no_image ember vm commit torn made
	ONLY='exchange' with_faults have_made no_image ember vm commit torn made --replace
}

@test "every step of the ways in and out was reached" {
	local unreached

	unreached=$(comm -23 <(steps_in_sources | grep -E "$MOVE_STEPS") <(sort -u "$REACHED"))
	equal "$unreached" ""
}
