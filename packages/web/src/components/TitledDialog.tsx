import { X } from "lucide-react";
import type { JSX, ReactNode } from "react";
import { Button, Dialog, Heading, Modal, ModalOverlay } from "react-aria-components";

interface Props {
  readonly title: string;
  readonly className?: string;
  /** Without these two it belongs to the DialogTrigger around it. */
  readonly isOpen?: boolean;
  readonly onOpenChange?: (isOpen: boolean) => void;
  readonly children: ReactNode;
}

/** In front of the page, with a button that closes it. */
export function TitledDialog({ title, className = "", children, ...overlay }: Props): JSX.Element {
  return (
    <ModalOverlay className="overlay" isDismissable {...overlay}>
      <Modal className="modal">
        <Dialog className={`dialog ${className}`}>
          {({ close }) => (
            <>
              <header className="dialog-header">
                <Heading slot="title">{title}</Heading>
                <Button className="icon-button quiet" aria-label="Close" onPress={close}>
                  <X size={18} aria-hidden="true" />
                </Button>
              </header>
              {children}
            </>
          )}
        </Dialog>
      </Modal>
    </ModalOverlay>
  );
}
