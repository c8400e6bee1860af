/**
 * The fields that the files kubernetes.yaml use, after the reference of the API of Kubernetes (v1, apps/v1, policy/v1,
 * networking.k8s.io/v1). A field that is not named here is a mistake, or must be looked up and added.
 */
import { z } from "zod";

const name = z.string().regex(/^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$/);
const portName = z.string().regex(/^(?=.*[a-z])[a-z0-9-]{1,15}$/);
const labels = z.record(z.string(), z.string());
const metadata = z.strictObject({ name, labels: labels.optional() });
const protocol = z.enum(["TCP", "UDP", "SCTP"]);
const port = z.int().min(1).max(65_535);
const quantity = z.string().regex(/^\d+(m|Ki|Mi|Gi)?$/);
const amounts = z.strictObject({ cpu: quantity.optional(), memory: quantity.optional(), storage: quantity.optional() });
const resources = z.strictObject({ requests: amounts.optional(), limits: amounts.optional() });
const selector = z.strictObject({ matchLabels: labels });
export const configMap = z.strictObject({
  apiVersion: z.literal("v1"),
  kind: z.literal("ConfigMap"),
  metadata,
  data: z.record(z.string(), z.string()),
});
export const service = z.strictObject({
  apiVersion: z.literal("v1"),
  kind: z.literal("Service"),
  metadata,
  spec: z.strictObject({
    type: z.enum(["ClusterIP", "NodePort", "LoadBalancer"]).optional(),
    clusterIP: z.literal("None").optional(),
    publishNotReadyAddresses: z.boolean().optional(),
    externalTrafficPolicy: z.enum(["Local", "Cluster"]).optional(),
    selector: labels,
    ports: z.array(z.strictObject({ name: portName, port, targetPort: portName, protocol })).min(1),
  }),
});
const probe = z.strictObject({
  httpGet: z.strictObject({ path: z.string().startsWith("/"), port: portName }),
  initialDelaySeconds: z.int().optional(),
  periodSeconds: z.int().min(1),
  timeoutSeconds: z.int().min(1),
  failureThreshold: z.int().min(1),
});
const container = z.strictObject({
  name,
  image: z.string(),
  imagePullPolicy: z.enum(["Always", "IfNotPresent", "Never"]),
  ports: z.array(z.strictObject({ name: portName, containerPort: port, protocol })),
  livenessProbe: probe,
  readinessProbe: probe,
  resources,
  securityContext: z.strictObject({
    allowPrivilegeEscalation: z.literal(false),
    readOnlyRootFilesystem: z.literal(true),
    capabilities: z.strictObject({ drop: z.tuple([z.literal("ALL")]) }),
  }),
  volumeMounts: z.array(
    z.strictObject({
      name,
      mountPath: z.string().startsWith("/"),
      subPath: z.string().optional(),
      readOnly: z.boolean().optional(),
    }),
  ),
});
const podSpec = z.strictObject({
  terminationGracePeriodSeconds: z.int(),
  securityContext: z.strictObject({
    runAsNonRoot: z.literal(true),
    runAsUser: z.int().min(1),
    fsGroup: z.int().min(1),
    seccompProfile: z.strictObject({ type: z.literal("RuntimeDefault") }),
  }),
  affinity: z.strictObject({
    podAntiAffinity: z.strictObject({
      requiredDuringSchedulingIgnoredDuringExecution: z.array(
        z.strictObject({ topologyKey: z.string(), labelSelector: selector }),
      ),
    }),
  }),
  containers: z.tuple([container]),
  volumes: z.array(
    z.union([
      z.strictObject({ name, configMap: z.strictObject({ name }) }),
      z.strictObject({ name, secret: z.strictObject({ secretName: name, defaultMode: z.int().max(0o777) }) }),
    ]),
  ),
});
export const statefulSet = z.strictObject({
  apiVersion: z.literal("apps/v1"),
  kind: z.literal("StatefulSet"),
  metadata,
  spec: z.strictObject({
    replicas: z.int().min(1),
    serviceName: name,
    podManagementPolicy: z.literal("Parallel"),
    updateStrategy: z.strictObject({ type: z.enum(["OnDelete", "RollingUpdate"]) }),
    selector,
    template: z.strictObject({ metadata: z.strictObject({ labels }), spec: podSpec }),
    volumeClaimTemplates: z.array(
      z.strictObject({
        metadata,
        spec: z.strictObject({ accessModes: z.tuple([z.literal("ReadWriteOnce")]), resources }),
      }),
    ),
  }),
});

export const disruptionBudget = z.strictObject({
  apiVersion: z.literal("policy/v1"),
  kind: z.literal("PodDisruptionBudget"),
  metadata,
  spec: z.strictObject({ maxUnavailable: z.int().min(1), selector }),
});

export const networkPolicy = z.strictObject({
  apiVersion: z.literal("networking.k8s.io/v1"),
  kind: z.literal("NetworkPolicy"),
  metadata,
  spec: z.strictObject({
    podSelector: selector,
    policyTypes: z.tuple([z.literal("Ingress")]),
    ingress: z.array(
      z.strictObject({
        ports: z.array(z.strictObject({ port: portName, protocol })).min(1),
        from: z.array(z.strictObject({ podSelector: selector })).optional(),
      }),
    ),
  }),
});
