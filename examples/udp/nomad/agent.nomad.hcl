# The agent on every Nomad client: it tells InfluxDB how busy the host is. Nomad 1.5 or later.
#
#   nomad var put nomad/jobs/agent influx_token=...     (a job of another name: nomad/jobs/NAME)
#   nomad job run -var influxdb=http://192.168.56.4:8086 agent.nomad.hcl

variable "influxdb" {
  type        = string
  description = "InfluxDB 2.x"
  default     = "http://192.168.56.4:8086"
}

variable "org" {
  type    = string
  default = "YourOrgName"
}

variable "bucket" {
  type    = string
  default = "YourBucketName"
}

job "agent" {
  type        = "system"
  datacenters = ["*"]

  update {
    max_parallel     = 1
    health_check     = "task_states"
    min_healthy_time = "5s"
    healthy_deadline = "1m"
  }

  group "agent" {
    # It goes on for ever: a host without metrics is one the allocator must guess about.
    restart {
      interval = "1m"
      attempts = 5
      delay    = "5s"
      mode     = "delay"
    }

    # The host's own interfaces, not those of a namespace.
    network {
      mode = "host"
    }

    task "agent" {
      # What exec hides is files: /proc/stat, /proc/meminfo and, in the host's network, /proc/net/dev are the host's.
      driver = "exec"

      config {
        command = "/usr/local/bin/rllb-agent"
        args = [
          "--to", "influx2:${var.influxdb}",
          "--org", "${var.org}",
          "--bucket", "${var.bucket}",
          "--host", "${node.unique.name}",
          "--interval", "1",
          "--buffer", "10000",
          "--status", "${NOMAD_TASK_DIR}/agent.prom",
        ]
      }

      # INFLUX_TOKEN comes to the process by its environment, which the process list does not show.
      template {
        data        = <<EOF
INFLUX_TOKEN={{ with nomadVar "nomad/jobs/agent" }}{{ .influx_token | toJSON }}{{ end }}
EOF
        destination = "secrets/influx.env"
        env         = true
        change_mode = "restart"
      }

      # At the end it tries once more, for two seconds, to write what waits.
      kill_signal  = "SIGTERM"
      kill_timeout = "5s"

      resources {
        cpu    = 50
        memory = 32
      }
    }
  }
}
