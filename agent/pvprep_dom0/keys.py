"""The keys of xl.cfg(5): those that may pass, and why the others may not.

A key that is in neither table does not pass: what another release of Xen makes of it is not known.
Source: parse_config_data in tools/xl/xl_parse.c, from Xen 4.4 to 4.21.
"""

from __future__ import annotations

# The keys that may pass, each with the one shape that xl wants: "number", "text" or "list".
SHAPES = {
    "name": "text",
    "uuid": "text",
    "type": "text",
    "memory": "number",
    "maxmem": "number",
    "vcpus": "number",
    "maxvcpus": "number",
    "kernel": "text",
    "ramdisk": "text",
    "cmdline": "text",
    "root": "text",
    "extra": "text",
    "bootloader": "text",
    "bootloader_args": "list",
    "bootloader_restrict": "number",
    "pvshim": "number",
    "on_poweroff": "text",
    "on_reboot": "text",
    "on_watchdog": "text",
    "on_crash": "text",
    "on_soft_reset": "text",
    "localtime": "number",
    "disk": "list",
    "vif": "list",
    "vfb": "list",
}

# What is behind each finding's id: its danger in a few words.
DANGERS = {
    "key.runs-code": "dom0 would run a program, or give it arguments, as the config says",
    "key.reads-files": "dom0 would open a file of its own that the config names",
    "key.hardware": "the guest would get hardware, or a right over other guests",
    "key.exhausts": "the guest could use up what dom0 and other guests need",
    "key.exposes": "a screen, port or device of the guest would be open to others",
    "key.hvm": "it starts or configures the device model, which a PV guest does not need",
    "key.not-needed": "it is not on the list of harmless keys",
    "key.unknown": "xl.cfg(5) does not have it; another release of xl may",
}

_REFUSED = {
    "key.runs-code": """
        bootloader_user device_model device_model_args device_model_args_hvm device_model_args_pv
        device_model_override device_model_stubdomain_override device_model_stubdomain_seclabel
        device_model_user device_model_version dm_restrict stubdomain_cmdline colo_proxy_script
        vncviewer""",
    "key.reads-files": """
        acpi_firmware bios_path_override channel device_tree firmware firmware_override
        opengl p9 pvshim_path serial smbios_firmware stubdomain_kernel stubdomain_ramdisk
        usbdevice vuart xauthority""",
    "key.hardware": """
        arm_sci driver_domain dtdev e820_host gfx_passthru gfx_passthru_kind init_seclabel iomem
        ioports irqs msr_relaxed passthrough pci pci_msitranslate pci_permissive pci_power_mgmt
        pci_seize pool pvcalls rdm rdm_mem_boundary seclabel trap_unmapped_accesses usbctrl usbdev
        vdispl virtio vkb vpmu vsnd vtpm xenstore_feature_mask""",
    "key.exhausts": """
        altp2m_count cap claim_mode cpu_weight cpus cpus_soft extratime latency llc_colors
        max_event_channels max_grant_frames max_grant_version max_maptrack_frames nr_spis period
        shadow_memory slice stubdomain_memory video_memory videoram vmtrace_buf_kb vnuma
        xenstore_quota""",
    "key.exposes": """
        display nographic sdl spice spice_clipboard_sharing spice_image_compression
        spice_streaming_video spiceagent_mouse spicedisable_ticketing spicehost spicepasswd
        spiceport spicetls_port spiceusbredirection spicevdagent vnc vncdisplay vnclisten vncpasswd
        vncunused""",
    "key.hvm": """
        acpi acpi_laptop_slate acpi_s3 acpi_s4 altp2m altp2mhvm apic bios boot builder hap hdtype
        hpet hvm_pirq keymap mca_caps mmio_hole monitor ms_vm_genid nestedhvm nx pae
        smbios soundhw stdvga usb usbversion vendor_device vga viridian vkb_device vpt_align
        xen_platform_pci xen_platform_pci_bar_uc""",
    "key.not-needed": """
        cpuid gic_version nomigrate oos pvshim_cmdline pvshim_extra rtc_timeoffset sve tee
        timer_mode tsc_mode vif2 xend_suspend_evtchn_compat""",
}

REFUSED = {key: id for id, keys in _REFUSED.items() for key in keys.split()}
