/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Names of partition types.  GPT: UEFI specification 2.10 section 5.3.3, the Discoverable
 * Partitions Specification, Microsoft's PARTITION_INFORMATION_GPT, Apple TN2166 and the vendors'
 * own pages.  MBR: Andries Brouwer's list.  Constant tables, any thread.
 */
#include "volume/internal.h"

#include <stdio.h>
#include <string.h>

struct gpt_type {
    const char *guid, *name;
};

static const struct gpt_type gpt_types[] = {
    {"c12a7328-f81f-11d2-ba4b-00a0c93ec93b", "EFI system"},
    {"024dee41-33e7-11d3-9d69-0008c781f39f", "MBR partition scheme"},
    {"21686148-6449-6e6f-744e-656564454649", "BIOS boot"},
    {"d3bfe2de-3daf-11df-ba40-e3a556d89593", "Intel Fast Flash"},
    /* Microsoft */
    {"e3c9e316-0b5c-4db8-817d-f92df00215ae", "Microsoft reserved"},
    {"ebd0a0a2-b9e5-4433-87c0-68b6b72699c7", "Microsoft basic data"},
    {"5808c8aa-7e8f-42e0-85d2-e1e90434cfb3", "Microsoft LDM metadata"},
    {"af9b60a0-1431-4f62-bc68-3311714a69ad", "Microsoft LDM data"},
    {"de94bba4-06d1-4d40-a16a-bfd50179d6ac", "Windows recovery environment"},
    {"e75caf8f-f680-4cee-afa3-b001e56efc2d", "Microsoft Storage Spaces"},
    {"558d43c5-a1ac-43c0-aac8-d1472b2923d1", "Microsoft Storage Replica"},
    {"37affc90-ef7d-4e96-91c3-2d7ae055b174", "IBM General Parallel File System"},
    /* Linux */
    {"0fc63daf-8483-4772-8e79-3d69d8477de4", "Linux filesystem"},
    {"a19d880f-05fc-4d3b-a006-743f0f84911e", "Linux RAID"},
    {"0657fd6d-a4ab-43c4-84e5-0933c84b4f4f", "Linux swap"},
    {"e6d6d379-f507-44c2-a23c-238f2a3df928", "Linux LVM"},
    {"933ac7e1-2eb4-4f13-b844-0e14e2aef915", "Linux home"},
    {"3b8f8425-20e0-4f3b-907f-1a25a76f98e8", "Linux server data"},
    {"8da63339-0007-60c0-c436-083ac8230908", "Linux reserved"},
    {"bc13c2ff-59e6-4262-a352-b275fd6f7172", "Linux extended boot"},
    {"44479540-f297-41b2-9af7-d131d5f0458a", "Linux root (x86)"},
    {"4f68bce3-e8cd-4db1-96e7-fbcaf984b709", "Linux root (x86-64)"},
    {"69dad710-2ce4-4e3c-b16c-21a1d49abed3", "Linux root (ARM)"},
    {"b921b045-1df0-41c3-af44-4c6f280d3fae", "Linux root (ARM-64)"},
    {"8484680c-9521-48c6-9c11-b0720656f69e", "Linux /usr (x86-64)"},
    {"2c7357ed-ebd2-46d9-aec1-23d437ec2bf5", "Linux root verity (x86-64)"},
    {"4d21b016-b534-45c2-a9fb-5c16e091fd2d", "Linux variable data"},
    {"7ec6f557-3bc5-4aca-b293-16ef5df639d1", "Linux temporary data"},
    {"ca7d7ccb-63ed-4c53-861c-1742536059cc", "Linux LUKS"},
    {"7ffec5c9-2d00-49b7-8941-3ea10a5586b7", "Linux plain dm-crypt"},
    /* Apple */
    {"48465300-0000-11aa-aa11-00306543ecac", "Apple HFS/HFS+"},
    {"7c3457ef-0000-11aa-aa11-00306543ecac", "Apple APFS"},
    {"55465300-0000-11aa-aa11-00306543ecac", "Apple UFS"},
    {"52414944-0000-11aa-aa11-00306543ecac", "Apple RAID"},
    {"52414944-5f4f-11aa-aa11-00306543ecac", "Apple RAID offline"},
    {"426f6f74-0000-11aa-aa11-00306543ecac", "Apple boot (recovery)"},
    {"4c616265-6c00-11aa-aa11-00306543ecac", "Apple label"},
    {"5265636f-7665-11aa-aa11-00306543ecac", "Apple TV recovery"},
    {"53746f72-6167-11aa-aa11-00306543ecac", "Apple Core Storage"},
    /* Solaris and illumos */
    {"6a82cb45-1dd2-11b2-99a6-080020736631", "Solaris boot"},
    {"6a85cf4d-1dd2-11b2-99a6-080020736631", "Solaris root"},
    {"6a87c46f-1dd2-11b2-99a6-080020736631", "Solaris swap"},
    {"6a898cc3-1dd2-11b2-99a6-080020736631", "Solaris /usr & Apple ZFS"},
    {"6a945a3b-1dd2-11b2-99a6-080020736631", "Solaris reserved"},
    /* the BSDs */
    {"83bd6b9d-7f41-11dc-be0b-001560b84f0f", "FreeBSD boot"},
    {"516e7cb4-6ecf-11d6-8ff8-00022d09712b", "FreeBSD data"},
    {"516e7cb5-6ecf-11d6-8ff8-00022d09712b", "FreeBSD swap"},
    {"516e7cb6-6ecf-11d6-8ff8-00022d09712b", "FreeBSD UFS"},
    {"516e7cb8-6ecf-11d6-8ff8-00022d09712b", "FreeBSD Vinum"},
    {"516e7cba-6ecf-11d6-8ff8-00022d09712b", "FreeBSD ZFS"},
    {"49f48d32-b10e-11dc-b99b-0019d1879648", "NetBSD swap"},
    {"49f48d5a-b10e-11dc-b99b-0019d1879648", "NetBSD FFS"},
    {"49f48d82-b10e-11dc-b99b-0019d1879648", "NetBSD LFS"},
    {"49f48daa-b10e-11dc-b99b-0019d1879648", "NetBSD RAID"},
    {"2db519c4-b10f-11dc-b99b-0019d1879648", "NetBSD concatenated"},
    {"2db519ec-b10f-11dc-b99b-0019d1879648", "NetBSD encrypted"},
    {"824cc7a0-36a8-11e3-890a-952519ad3f61", "OpenBSD data"},
    /* hypervisors, phones and others */
    {"aa31e02a-400f-11db-9590-000c2911d1b8", "VMware VMFS"},
    {"9d275380-40ad-11db-bf97-000c2911d1b8", "VMware diagnostic"},
    {"9198effc-31c0-11db-8f78-000c2911d1b8", "VMware reserved"},
    {"381cfccc-7288-11e0-92ee-000c2911d0b2", "VMware vSAN"},
    {"fe3a2a5d-4f32-41a7-b725-accc3285a309", "ChromeOS kernel"},
    {"3cb8e202-3b7e-47dd-8a3c-7ff2a13cfcec", "ChromeOS root"},
    {"2e0a753d-9e48-43b0-8337-b15192cb1b5e", "ChromeOS reserved"},
    {"75894c1e-3aeb-11d3-b7c1-7b03a0000000", "HP-UX data"},
    {"e2a1e728-32e3-11d6-a682-7b03a0000000", "HP-UX service"},
    {"42465331-3ba3-10f1-802a-4861696b7521", "Haiku BFS"},
    {"45b0969e-9b03-4f30-b4c6-b4b80ceff106", "Ceph journal"},
    {"4fbd7e29-9d25-41b8-afd0-062c0ceff05d", "Ceph OSD"},
    {"9e1a2d38-c612-4316-aa26-8b49521e5a8b", "PowerPC PReP boot"},
    {"bfbfafe7-a34f-448a-9a5b-6213eb736c22", "Lenovo boot"},
    {"f4019732-066e-4e12-8273-346c5641494f", "Sony boot"},
};

static const char *const mbr_types[256] = {
    [0x01] = "FAT12",
    [0x02] = "XENIX root",
    [0x03] = "XENIX usr",
    [0x04] = "FAT16 (below 32 MiB)",
    [0x05] = "Extended",
    [0x06] = "FAT16",
    [0x07] = "NTFS / exFAT / HPFS",
    [0x08] = "AIX",
    [0x09] = "AIX bootable",
    [0x0a] = "OS/2 boot manager",
    [0x0b] = "FAT32",
    [0x0c] = "FAT32 (LBA)",
    [0x0e] = "FAT16 (LBA)",
    [0x0f] = "Extended (LBA)",
    [0x11] = "Hidden FAT12",
    [0x12] = "Compaq diagnostics",
    [0x14] = "Hidden FAT16 (below 32 MiB)",
    [0x16] = "Hidden FAT16",
    [0x17] = "Hidden NTFS / HPFS",
    [0x1b] = "Hidden FAT32",
    [0x1c] = "Hidden FAT32 (LBA)",
    [0x1e] = "Hidden FAT16 (LBA)",
    [0x27] = "Windows recovery environment",
    [0x39] = "Plan 9",
    [0x3c] = "PartitionMagic recovery",
    [0x42] = "Windows dynamic disk (LDM)",
    [0x4d] = "QNX4.x",
    [0x4e] = "QNX4.x 2nd part",
    [0x4f] = "QNX4.x 3rd part",
    [0x63] = "GNU HURD or SysV",
    [0x64] = "Novell Netware 286",
    [0x65] = "Novell Netware 386",
    [0x80] = "Old Minix",
    [0x81] = "Minix",
    [0x82] = "Linux swap / Solaris",
    [0x83] = "Linux",
    [0x84] = "Hibernation",
    [0x85] = "Linux extended",
    [0x86] = "NTFS volume set",
    [0x87] = "NTFS volume set",
    [0x88] = "Linux plaintext",
    [0x8e] = "Linux LVM",
    [0x93] = "Amoeba",
    [0xa0] = "Laptop hibernation",
    [0xa5] = "FreeBSD",
    [0xa6] = "OpenBSD",
    [0xa7] = "NeXTSTEP",
    [0xa8] = "Darwin UFS",
    [0xa9] = "NetBSD",
    [0xab] = "Darwin boot",
    [0xaf] = "Apple HFS/HFS+",
    [0xb7] = "BSDI",
    [0xb8] = "BSDI swap",
    [0xbe] = "Solaris boot",
    [0xbf] = "Solaris",
    [0xcd] = "Hybrid ISO image",
    [0xda] = "Non-FS data",
    [0xde] = "Dell utility",
    [0xe8] = "Linux LUKS",
    [0xea] = "Linux extended boot",
    [0xeb] = "BeOS",
    [0xee] = "GPT protective",
    [0xef] = "EFI system (FAT)",
    [0xf0] = "PA-RISC boot",
    [0xfb] = "VMware VMFS",
    [0xfc] = "VMware VMKCORE",
    [0xfd] = "Linux RAID autodetect",
    [0xfe] = "LANstep",
};

void volume_guid_text(const uint8_t guid[16], char out[37])
{
    static const uint8_t order[16] = {3, 2, 1, 0, 5, 4, 7, 6, 8, 9, 10, 11, 12, 13, 14, 15};
    char *p = out;
    unsigned i;

    for (i = 0; i < 16; i++) {
        if (i == 4 || i == 6 || i == 8 || i == 10)
            *p++ = '-';
        (void)snprintf(p, 3, "%02x", guid[order[i]]);
        p += 2;
    }
}

const char *volume_gpt_type_name(const char *guid)
{
    size_t i;

    for (i = 0; i < sizeof(gpt_types) / sizeof(gpt_types[0]); i++)
        if (strcmp(gpt_types[i].guid, guid) == 0)
            return gpt_types[i].name;
    return "";
}

const char *volume_mbr_type_name(uint8_t type)
{
    return mbr_types[type] ? mbr_types[type] : "";
}
